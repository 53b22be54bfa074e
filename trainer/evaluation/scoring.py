"""Which tokens a forward pass sees and which of them it scores.

Windows of `seq_len` tokens start every `stride` tokens. The first scores all its targets, every
later one its last `stride`: each token is scored exactly once, and with at least
`seq_len - stride` tokens before it, those at the very beginning apart. A stride of the whole
length is the plain case, sequences that do not overlap. The last window may stick out over the
end of the tokens; what it would score there is dropped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from trainer.data.batches import document_boundaries, on_device
from trainer.errors import DataError
from trainer.process_group import ProcessGroup
from trainer.recipe import BatchOptions, Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """How the validation set is cut."""

    seq_len: int
    stride: int  # from 1 to seq_len
    batch_size: int  # windows of one process in one forward pass
    are_cut_at_documents: bool = False  # attention within documents alone

    @property
    def context(self) -> int:
        """Targets that a window sees again without scoring them."""
        return self.seq_len - self.stride

    def starts(self, num_targets: int) -> np.ndarray:  # (W,) int64
        """Where windows begin: as many as it takes to score every target."""
        return np.arange(0, max(num_targets - self.context, 1), self.stride)


def evaluation_windows(recipe: Recipe) -> Windows:
    """The windows of the final score; test-time training goes on by a chunk of a document."""
    options = recipe.evaluation
    seq_len = options.eval_seq_len or recipe.batch.train_seq_len
    if options.ttt_enabled:
        return Windows(
            seq_len=options.ttt_eval_seq_len,
            stride=options.ttt_chunk_size,
            batch_size=options.ttt_batch_size,
        )
    return Windows(
        seq_len=seq_len,
        stride=options.eval_stride or seq_len,
        batch_size=options.eval_batch_seqs or default_batch_size(recipe.batch, seq_len),
        are_cut_at_documents=recipe.batch.pack_documents,
    )


def training_windows(recipe: Recipe) -> Windows:
    """The windows of scores in the middle of training: training's own sequences."""
    seq_len = recipe.batch.train_seq_len
    batch_size = default_batch_size(recipe.batch, seq_len)
    return Windows(
        seq_len=seq_len,
        stride=seq_len,
        batch_size=batch_size,
        are_cut_at_documents=recipe.batch.pack_documents,
    )


def default_batch_size(batch: BatchOptions, seq_len: int) -> int:
    """Windows at once, as the public baseline divides VAL_BATCH_SIZE tokens over micro-batches."""
    return max(batch.val_batch_size // batch.micro_batches_per_step // seq_len, 1)


@torch.inference_mode()
def score_tokens(
    forward: Callable[..., Tensor],
    tokens: np.ndarray,  # (N + 1,) uint16
    windows: Windows,
    group: ProcessGroup,
) -> Tensor:  # (N,) fp32
    """The loss of every token but the first, in nats, in order; on every process all of them.

    Each process scores a run of consecutive windows.
    """
    num_targets = tokens.size - 1
    starts = windows.starts(num_targets)
    first = starts.size * group.rank // group.world_size
    end = starts.size * (group.rank + 1) // group.world_size
    padded = np.pad(tokens, (0, windows.seq_len)).astype(np.int32)
    device_tokens = torch.from_numpy(padded).to(group.device)
    losses = torch.zeros(num_targets + windows.seq_len, device=group.device)
    for index in range(first, end, windows.batch_size):
        own = starts[index : min(index + windows.batch_size, end)]
        # A shorter last batch would be compiled anew: fill it up with what it holds already.
        filled = np.resize(own, windows.batch_size)
        seeing = forward
        if windows.are_cut_at_documents:
            rows = padded[filled[:, None] + np.arange(windows.seq_len)]
            boundaries = on_device(document_boundaries(rows, windows.seq_len), group.device)
            seeing = partial(forward, boundaries=boundaries)
        score_batch(seeing, device_tokens, torch.from_numpy(filled), losses, windows)
    group.sum_in_place(losses)
    return losses[:num_targets]


def score_batch(
    forward: Callable[..., Tensor],
    tokens: Tensor,  # (N + 1 + seq_len,) int32
    starts: Tensor,  # (B,) int64, on the CPU
    losses: Tensor,  # (N + seq_len,) fp32: receives what these windows score
    windows: Windows,
) -> None:
    """Score one batch of windows. Nothing here waits for the device."""
    has_first = int(starts[0]) == 0
    starts = starts.to(tokens.device, non_blocking=True)[:, None]
    offsets = torch.arange(windows.seq_len + 1, device=tokens.device)
    ids = tokens[starts + offsets].long()
    device_type = tokens.device.type
    with torch.autocast(device_type, torch.bfloat16, enabled=device_type == "cuda"):
        scored = forward(ids[:, :-1], ids[:, 1:]).view(-1, windows.seq_len)
    if has_first:
        losses[: windows.seq_len] = scored[0]
    losses[starts + offsets[windows.context : -1]] = scored[:, windows.context :]


def check_token_ids(tokens: np.ndarray, vocab_size: int) -> None:
    """See to it that every token is in the vocabulary; a GPU would only say "assert triggered".

    Raises:
        DataError: one is not.
    """
    if (largest := int(tokens.max())) >= vocab_size:
        raise DataError(
            f"token id {largest} in the validation shards, but vocab_size is {vocab_size}; "
            "use the shards that belong to the tokenizer, or mend model.vocab_size"
        )
