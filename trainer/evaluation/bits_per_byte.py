"""Bits per byte: the code length of the validation text over its length.

Every token of the validation set counts once. The last tokens that do not fill a sequence are
left out, as public scripts do, unless the recipe scores the tail.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainer.data.byte_lengths import ByteTable, count_bytes
from trainer.data.token_shards import read_shard, shard_paths
from trainer.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """A model's score on a validation set."""

    loss_nats: float  # mean over tokens
    bits_per_byte: float
    num_tokens: int
    num_bytes: int


def load_validation_tokens(
    folder: Path | str, seq_len: int, *, keep_tail: bool = False
) -> np.ndarray:  # (N + 1,) uint16
    """All validation tokens in order; without the tail, whole sequences and the last one's target.

    Raises:
        DataError: there are no shards, or not one sequence in them.
    """
    tokens = np.concatenate([read_shard(path) for path in shard_paths(folder, "val")])
    usable = (tokens.size - 1) // seq_len * seq_len
    if usable == 0:
        raise DataError(
            f"{folder}: {tokens.size} validation tokens, but one sequence takes {seq_len + 1}; "
            "add data or lower train_seq_len"
        )
    return tokens if keep_tail else tokens[: usable + 1]


def bits_per_byte(
    losses: Tensor,  # (N,) fp32, nats
    tokens: np.ndarray,  # (N + 1,) uint16
    table: ByteTable,
) -> Score:
    """The score that these losses make on these tokens."""
    return score_over(losses, count_bytes(table, tokens[:-1], tokens[1:]))


def score_over(losses: Tensor, num_bytes: int) -> Score:  # (N,) fp32, nats
    """The score that these losses make on so many bytes."""
    total_nats = float(losses.sum(dtype=torch.float64).item())
    num_tokens = losses.numel()
    return Score(
        loss_nats=total_nats / num_tokens,
        bits_per_byte=total_nats / math.log(2.0) / num_bytes,
        num_tokens=num_tokens,
        num_bytes=num_bytes,
    )


def write_token_losses(losses: Tensor, path: Path) -> None:
    """Write every token's loss in scoring order, float32 little-endian, nothing else."""
    path.write_bytes(losses.cpu().numpy().astype("<f4").tobytes())
