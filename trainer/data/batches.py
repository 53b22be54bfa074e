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


def train_batches(
    paths: list[Path], recipe: Recipe, group: ProcessGroup, *, first: int = 0
) -> Iterator[Batch]:
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
    for ready in prefetched(prepare_batch(tokens, recipe) for tokens in own):
        yield ready.on(group.device)


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


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadyBatch:
    """A batch in the host's memory."""

    ids: np.ndarray  # (B * T + 1,) int64
    row_tokens: int
    boundaries: np.ndarray | None  # (S,) int32

    def on(self, device: torch.device) -> Batch:
        """The batch on a device."""
        ids = on_device(self.ids, device)
        return Batch(
            input_ids=ids[:-1].view(-1, self.row_tokens),
            target_ids=ids[1:].view(-1, self.row_tokens),
            boundaries=None if self.boundaries is None else on_device(self.boundaries, device),
        )


def prepare_batch(
    tokens: np.ndarray,  # (B * T + 1,) uint16
    recipe: Recipe,
) -> ReadyBatch:
    """Consecutive tokens as rows whose targets are the next tokens.

    Raises:
        DataError: a token id is outside the vocabulary (a GPU would only say "assert triggered").
    """
    if (largest := int(tokens.max())) >= recipe.model.vocab_size:
        raise DataError(
            f"token id {largest} in the shards, but vocab_size is {recipe.model.vocab_size}; "
            "use the shards that belong to the tokenizer, or mend model.vocab_size"
        )
    row_tokens, boundaries = recipe.batch.row_tokens, None
    if recipe.batch.pack_documents:
        rows = tokens[:-1].reshape(-1, row_tokens)
        boundaries = document_boundaries(rows, recipe.batch.train_seq_len)
    return ReadyBatch(ids=tokens.astype(np.int64), row_tokens=row_tokens, boundaries=boundaries)


def document_boundaries(
    input_ids: np.ndarray,  # (B, T)
    longest: int,
) -> np.ndarray:  # (S,) int32
    """Where documents begin in rows end to end, and then their total length.

    A row begins one, and a BOS; after `longest` tokens it counts as another. The total length is
    repeated until there is one boundary for each 128 tokens, and then up to the next multiple of
    that: code is compiled for each S, and this S nearly always suffices.
    """
    begins = input_ids == BOS_ID
    begins[:, 0] = True
    starts = np.flatnonzero(begins)
    ends = np.append(starts[1:], input_ids.size)
    cuts = [np.arange(start, end, longest) for start, end in zip(starts, ends, strict=True)]
    boundaries = np.concatenate([*cuts, [input_ids.size]])
    room = math.ceil(input_ids.size / TOKENS_PER_BOUNDARY) + 1
    return np.pad(boundaries, (0, -boundaries.size % room), constant_values=input_ids.size).astype(
        np.int32
    )


def on_device(array: np.ndarray, device: torch.device) -> Tensor:
    """An array as a tensor; the copy does not wait for the work that a GPU has been given."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
