"""Passes over a chunk: score it, then learn from it; nothing else of test-time training is here.

B documents, T tokens, L tokens of a chunk, N targets in all.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.evaluation.adapters import Adapters
from trainer.evaluation.compiled_passes import Forward
from trainer.evaluation.document_batches import DocumentBatch, passes_of, window_of
from trainer.recipe import EvaluationOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """One forward pass over the documents of a batch that are not over."""

    span: range  # of targets, as places in each document
    places: Tensor  # (B, T) int64: where among the tokens each input stands
    scored: Tensor  # (L,) int64: which inputs the chunk's targets follow: the last
    slots: Tensor  # (B, L) int64: where their losses go; to the end, N, if a document is over
    goes_on: Tensor  # (B,) bool: documents that go on after this chunk
    is_last: bool  # none goes on


def score(
    forward: Forward,
    chunk: Chunk,
    tape: Tensor,  # (N + 1,) int32
    losses: Tensor,  # (N + 1,) fp32: receives the chunk's scores
) -> Tensor:  # (B, L) fp32, with the graph that `learn` needs
    """Score a chunk with the adapters as they are."""
    inputs = tape[chunk.places].long()
    targets = tape[chunk.places[:, chunk.scored] + 1].long()
    device_type = tape.device.type
    with torch.autocast(device_type, torch.bfloat16, enabled=device_type == "cuda"):
        token_losses = forward(inputs, targets, scored=chunk.scored).view(targets.shape)
    is_there = chunk.slots < losses.numel() - 1
    losses[chunk.slots] = token_losses.detach().where(is_there, 0.0)
    return token_losses


def learn(adapters: Adapters, chunk: Chunk, token_losses: Tensor) -> None:
    """Move each document's adapters by what its chunk, already scored, has cost on average."""
    move(adapters, chunk, token_losses)
    adapters.note_step()


def move(adapters: Adapters, chunk: Chunk, token_losses: Tensor) -> None:
    """What of it the device does."""
    torch.autograd.backward((token_losses.mean(dim=1) * chunk.goes_on).sum())
    adapters.step()


def chunks_of(batch: DocumentBatch, options: EvaluationOptions, tape: Tensor) -> Iterator[Chunk]:
    """The forward passes that a batch takes, from left to right; its longest documents come first.

    A pass sees the chunk and what precedes it in its document, `ttt_eval_seq_len` tokens at most.
    """
    starts = torch.tensor([document.start for document in batch], device=tape.device)[:, None]
    lengths = torch.tensor([document.num_targets for document in batch], device=tape.device)
    for span, num_read in passes_of(batch, options):
        window = window_of(span, options)
        within = torch.arange(window.start, window.stop, device=tape.device)
        is_there = within < lengths[:num_read, None]  # (B, T)
        places = (starts[:num_read] + within).where(is_there, 0)
        slots = places.where(is_there, tape.numel() - 1)
        scored = torch.arange(len(window) - len(span), len(window), device=tape.device)
        yield Chunk(
            span=span,
            places=places,
            scored=scored,
            slots=slots[:, scored],
            goes_on=lengths[:num_read] > span.stop,
            is_last=batch[0].num_targets <= span.stop,
        )


@dataclass(kw_only=True, slots=True)
class Passes:
    """Scores chunks, each for good, and then learns from them."""

    forward: Forward
    adapters: Adapters
    tape: Tensor  # (N + 1,) int32: all tokens
    losses: Tensor  # (N + 1,) fp32: receives the scores; the last stands for no target
    _token_losses: Tensor | None = None  # (B, L) fp32, of the chunk scored last

    def score(self, chunk: Chunk) -> None:
        """Score it with the adapters as they are."""
        self._token_losses = score(self.forward, chunk, self.tape, self.losses)

    def learn(self, chunk: Chunk) -> None:
        """Move the adapters by what the chunk, scored last, has cost."""
        self._move(chunk)
        self.adapters.note_step()

    def _move(self, chunk: Chunk) -> None:
        """What of it the device does."""
        assert self._token_losses is not None
        move(self.adapters, chunk, self._token_losses)
        self._token_losses = None
