"""Per-document test-time training: score a chunk, only then learn from it.

As in #77: each document starts with fresh low-rank adapters (on queries, values and the head, all
other weights fixed) and is read chunk by chunk from left to right. One forward pass over the chunk
and what precedes it gives the loss of every token of the chunk: its score, for good. The same
losses' mean then moves the adapters by one Adam step, for the chunks to come; the last chunk is
scored and not learnt from. Documents stand side by side in a batch, each with adapters of its own,
so that no document sees anything of another.

Two things are not as in #77. All documents start from the same random adapters, so that a
document's score does not depend on the others beside it; #77 draws each one's own. And a window
ends where a whole chunk would, not with the document: how long a document is, nobody knows who
reads it token by token.

B documents, T tokens, C channels, K rank, N targets in all.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from trainer.model.deltas import BlockDeltas, Deltas
from trainer.model.transformer import GPT
from trainer.process_group import ProcessGroup
from trainer.recipe import BOS_ID, EvaluationOptions, Recipe

ADAM_EPS = 1e-10
ADAPTER_SEED = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """One document; its last target is the beginning of the next one."""

    start: int  # place of its first token
    num_targets: int

    def num_chunks(self, chunk_size: int) -> int:
        return -(-self.num_targets // chunk_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """One forward pass over a batch of documents."""

    places: Tensor  # (B, T) int64: where among the tokens each input stands
    is_scored: Tensor  # (B, T) bool: the chunk's own tokens; the others are context or filling
    is_learnt_from: Tensor  # (B,) bool: documents that go on after this chunk
    is_last: bool  # none goes on


class Adapter:
    """A low-rank addition to a linear layer, one for each document: x ↦ (x Aᵀ) Bᵀ, at first 0."""

    def __init__(self, num_documents: int, shape: tuple[int, int], rank: int) -> None:
        num_outputs, self.num_inputs = shape
        self.down = torch.zeros(num_documents, rank, self.num_inputs)  # A: (B, K, inputs)
        self.up = torch.zeros(num_documents, num_outputs, rank)  # B: (B, outputs, K)

    def to(self, device: torch.device) -> "Adapter":
        self.down = self.down.to(device).requires_grad_()
        self.up = self.up.to(device).requires_grad_()
        return self

    def __call__(self, inputs: Tensor) -> Tensor:  # (B, T, inputs) → (B, T, outputs)
        return (inputs @ self.down.transpose(1, 2)) @ self.up.transpose(1, 2)

    def reset(self, random: torch.Generator) -> None:
        """A uniform in ±1/√inputs, the same for all documents, and B zero."""
        bound = self.num_inputs**-0.5
        initial = torch.empty(self.down.shape[1:]).uniform_(-bound, bound, generator=random)
        with torch.no_grad():
            self.down.copy_(initial.expand_as(self.down))
            self.up.zero_()


class Adapters:
    """All adapters of a batch of documents, with the optimizer that moves them."""

    def __init__(self, model: GPT, recipe: Recipe) -> None:
        options = recipe.evaluation
        layers = [f"blocks.{step.layer}.attn" for step in model.steps]
        queries = [_adapter(model, f"{layer}.c_q", options) for layer in layers]
        values = [_adapter(model, f"{layer}.c_v", options) for layer in layers]
        self.head = _adapter(model, "tok_emb", options)
        self.deltas = Deltas(
            blocks=[
                BlockDeltas(query=query, value=value)
                for query, value in zip(queries, values, strict=True)
            ],
            head=self.head,
        )
        self.all = [*chain.from_iterable(zip(queries, values, strict=True)), self.head]
        self.optimizer = torch.optim.Adam(
            [part for adapter in self.all for part in (adapter.down, adapter.up)],
            lr=options.ttt_lora_lr,
            betas=(recipe.optimizer.beta1, recipe.optimizer.beta2),
            eps=ADAM_EPS,
        )

    def reset(self) -> None:
        """Forget everything that was learnt."""
        random = torch.Generator().manual_seed(ADAPTER_SEED)
        for adapter in self.all:
            adapter.reset(random)
        self.optimizer.state.clear()


@contextmanager
def fixed_weights(model: GPT) -> Iterator[None]:
    """Within it, the model's own weights are not trained."""
    wanted_grad = {parameter: parameter.requires_grad for parameter in model.parameters()}
    model.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, wanted in wanted_grad.items():
            parameter.requires_grad_(wanted)


def _adapter(model: GPT, layer: str, options: EvaluationOptions) -> Adapter:
    weight = model.get_parameter(f"{layer}.weight")
    num_outputs, num_inputs = weight.shape
    adapter = Adapter(options.ttt_batch_size, (num_outputs, num_inputs), options.ttt_lora_rank)
    return adapter.to(weight.device)


def score_with_training(
    model: GPT,
    tokens: np.ndarray,  # (N + 1,) uint16
    recipe: Recipe,
    group: ProcessGroup,
) -> Tensor:  # (N,) fp32
    """The loss of every token but the first, in nats, in order; on every process all of them.

    Each process takes a run of consecutive documents.
    """
    losses = torch.zeros(tokens.size - 1, device=group.device)
    device_tokens = torch.from_numpy(tokens.astype(np.int32)).to(group.device)
    documents = find_documents(tokens)
    first = len(documents) * group.rank // group.world_size
    end = len(documents) * (group.rank + 1) // group.world_size
    adapters = Adapters(model, recipe)
    forward = partial(model, deltas=adapters.deltas)
    with fixed_weights(model):
        for batch in batches_of(documents[first:end], recipe.evaluation):
            adapters.reset()
            for chunk in chunks_of(batch, recipe.evaluation, group.device):
                token_losses = score(forward, chunk, device_tokens, losses)
                learn(adapters, chunk, token_losses, recipe.evaluation)
    group.sum_in_place(losses)
    return losses


def score(
    forward: Callable[[Tensor, Tensor], Tensor],
    chunk: Chunk,
    tokens: Tensor,  # (N + 1,) int32
    losses: Tensor,  # (N,) fp32: receives the chunk's scores
) -> Tensor:  # (B, T) fp32, with the graph that `learn` needs
    """Score a chunk with the adapters as they are."""
    inputs, targets = tokens[chunk.places].long(), tokens[chunk.places + 1].long()
    device_type = tokens.device.type
    with (
        torch.set_grad_enabled(not chunk.is_last),
        torch.autocast(device_type, torch.bfloat16, enabled=device_type == "cuda"),
    ):
        token_losses = forward(inputs, targets).view(chunk.places.shape)
    losses[chunk.places[chunk.is_scored]] = token_losses.detach()[chunk.is_scored]
    return token_losses


def learn(
    adapters: Adapters, chunk: Chunk, token_losses: Tensor, options: EvaluationOptions
) -> None:
    """Move each document's adapters by what its chunk, already scored, has cost on average."""
    if chunk.is_last:
        return
    is_used = chunk.is_scored & chunk.is_learnt_from[:, None]
    loss = token_losses.where(is_used, 0.0).sum() / options.ttt_chunk_size
    adapters.optimizer.zero_grad()
    torch.autograd.backward(loss)
    adapters.optimizer.step()


def find_documents(tokens: np.ndarray) -> list[Document]:
    """The documents of a token stream; what comes before the first BOS is one too."""
    begins = np.union1d([0], np.flatnonzero(tokens[:-1] == BOS_ID))
    ends = np.append(begins[1:], tokens.size - 1)
    return [
        Document(start=int(begin), num_targets=int(end - begin))
        for begin, end in zip(begins, ends, strict=True)
    ]


def batches_of(documents: list[Document], options: EvaluationOptions) -> Iterator[list[Document]]:
    """Documents of about the same length side by side; the last batch is filled with empty ones."""
    size = options.ttt_batch_size
    ordered = sorted(documents, key=lambda document: document.num_chunks(options.ttt_chunk_size))
    for index in range(0, len(ordered), size):
        batch = ordered[index : index + size]
        yield batch + [Document(start=0, num_targets=0)] * (size - len(batch))


def chunk_window(index: int, options: EvaluationOptions) -> range:
    """The places in a document that the pass over its chunk number `index` sees."""
    end = (index + 1) * options.ttt_chunk_size
    return range(max(end - options.ttt_eval_seq_len, 0), end)


def chunks_of(
    batch: list[Document], options: EvaluationOptions, device: torch.device
) -> Iterator[Chunk]:
    """The forward passes that a batch takes, from left to right.

    A pass sees the chunk and what precedes it in its document, `ttt_eval_seq_len` tokens at most.
    """
    size = options.ttt_chunk_size
    starts = torch.tensor([document.start for document in batch])[:, None]
    lengths = torch.tensor([document.num_targets for document in batch])[:, None]
    for index in range(max(document.num_chunks(size) for document in batch)):
        window = chunk_window(index, options)
        within = torch.arange(window.start, window.stop)  # (T,): place in the document
        is_there = within < lengths  # (B, T)
        goes_on = lengths[:, 0] > (index + 1) * size
        yield Chunk(
            places=(starts + within).where(is_there, 0).to(device),
            is_scored=(is_there & (within >= index * size)).to(device),
            is_learnt_from=goes_on.to(device),
            is_last=not bool(goes_on.any()),
        )
