"""Tokens on the device, in a fixed order: every process draws its own share of one stream."""

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from trainer.data.token_shards import read_shard, shard_num_tokens
from trainer.errors import DataError
from trainer.process_group import ProcessGroup
from trainer.recipe import BOS_ID, Recipe

Item = TypeVar("Item")
MADE_AHEAD = 3  # micro-batches
TOKENS_PER_BOUNDARY = 128  # few enough: documents of FineWeb have about 800


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """B sequences of T tokens on the device."""

    input_ids: Tensor  # (B, T) int64
    target_ids: Tensor  # (B, T) int64: the token after each input
    boundaries: Tensor | None  # (S,) int32: where documents begin, rows end to end


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadyBatch:
    """Consecutive tokens in the host's memory, for sequences of any length that divides them."""

    ids: np.ndarray  # (N + 1,) int64
    begins: np.ndarray | None  # (D,) int64: where documents do, where they are packed into one row

    def on(self, device: torch.device, seq_len: int) -> Batch:
        """Sequences on a device, whose targets are the next tokens."""
        row_tokens, boundaries = seq_len, None
        if self.begins is not None:
            row_tokens = self.ids.size - 1
            boundaries = on_device(cut_documents(self.begins, row_tokens, seq_len), device)
        ids = on_device(self.ids, device)
        return Batch(
            input_ids=ids[:-1].view(-1, row_tokens),
            target_ids=ids[1:].view(-1, row_tokens),
            boundaries=boundaries,
        )


def train_batches(
    paths: list[Path], recipe: Recipe, group: ProcessGroup, *, first: int = 0
) -> Iterator[ReadyBatch]:
    """This process's micro-batches, for ever, from the first token of the first shard.

    With `first`, so many of them are left out at the beginning.

    The stream is cut into spans, one a micro-batch, dealt out to the processes in turn: the
    micro-batches of a step are the same for any number of processes.

    Raises:
        DataError: all shards together are shorter than one draw.
    """
    span = recipe.batch.train_batch_tokens // recipe.batch.micro_batches_per_step + 1
    num_tokens = sum(shard_num_tokens(path) for path in paths)
    if num_tokens < span * group.world_size:
        raise DataError(
            f"{paths[0].parent}: {num_tokens} training tokens, but one micro-batch of all "
            f"processes takes {span * group.world_size}; add data or lower train_batch_tokens"
        )
    drawn = span * group.world_size
    chunks = endless_chunks(paths, drawn, skipped_tokens=first * drawn)
    own = (chunk[span * group.rank : span * (group.rank + 1)] for chunk in chunks)
    return prefetched(prepare_batch(tokens, recipe) for tokens in own)


def prefetched(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, made in a thread while the ones before them are used."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        waiting: deque[Future[Item | None]] = deque()
        while True:
            while len(waiting) < MADE_AHEAD:
                waiting.append(thread.submit(next, items, None))
            item = waiting.popleft().result()
            if item is None:
                return
            yield item


def endless_chunks(
    paths: list[Path], chunk_tokens: int, *, skipped_tokens: int = 0
) -> Iterator[np.ndarray]:
    """Consecutive chunks of the shards read one after the other, again and again.

    Shards that are skipped whole are not read.
    """
    pieces: list[np.ndarray] = []
    missing, position = chunk_tokens, skipped_tokens
    for path in cycle(paths):
        if position >= (num_tokens := shard_num_tokens(path)):
            position -= num_tokens
            continue
        shard = read_shard(path)
        while shard.size - position >= missing:
            yield np.concatenate([*pieces, shard[position : position + missing]])
            position += missing
            pieces, missing = [], chunk_tokens
        pieces.append(shard[position:])
        missing -= shard.size - position
        position = 0


def prepare_batch(
    tokens: np.ndarray,  # (N + 1,) uint16
    recipe: Recipe,
) -> ReadyBatch:
    """Consecutive tokens, checked.

    Raises:
        DataError: a token id is outside the vocabulary (a GPU would only say "assert triggered").
    """
    if (largest := int(tokens.max())) >= recipe.model.vocab_size:
        raise DataError(
            f"token id {largest} in the shards, but vocab_size is {recipe.model.vocab_size}; "
            "use the shards that belong to the tokenizer, or mend model.vocab_size"
        )
    begins = document_starts(tokens[None, :-1]) if recipe.batch.pack_documents else None
    return ReadyBatch(ids=tokens.astype(np.int64), begins=begins)


def document_boundaries(
    input_ids: np.ndarray,  # (B, T)
    longest: int,
) -> np.ndarray:  # (S,) int32
    """Where documents begin in rows end to end, as `cut_documents` says."""
    return cut_documents(document_starts(input_ids), input_ids.size, longest)


def document_starts(input_ids: np.ndarray) -> np.ndarray:  # (B, T) → (D,) int64
    """Where documents begin in rows end to end: with a row, and with a BOS."""
    begins = input_ids == BOS_ID
    begins[:, 0] = True
    return np.flatnonzero(begins)


def cut_documents(
    starts: np.ndarray,  # (D,) int64, the first one 0
    num_tokens: int,
    longest: int,
) -> np.ndarray:  # (S,) int32
    """Where documents begin of which none is longer than `longest`, and then their total length.

    The total length is repeated until there is one boundary for each 128 tokens, and then up to the
    next multiple of that: code is compiled for each S, and this S nearly always suffices.
    """
    num_parts = -(-np.diff(starts, append=num_tokens) // longest)
    first_parts = np.cumsum(num_parts) - num_parts
    place = np.arange(num_parts.sum()) - np.repeat(first_parts, num_parts)  # in its document
    boundaries = np.append(np.repeat(starts, num_parts) + longest * place, num_tokens)
    room = math.ceil(num_tokens / TOKENS_PER_BOUNDARY) + 1
    padding = (0, -boundaries.size % room)
    return np.pad(boundaries, padding, constant_values=num_tokens).astype(np.int32)


def on_device(array: np.ndarray, device: torch.device) -> Tensor:
    """An array as a tensor; the copy does not wait for the work that a GPU has been given."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
