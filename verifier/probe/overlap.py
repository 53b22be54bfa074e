"""Validation documents that stand in the training data: the same, or with most runs of words."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from verifier.probe.scoring import tokens_of
from verifier.probe.tapes.variants import Tokens
from verifier.schemas.probe_record_json import OverlapRecord
from verifier.track_data import HEADER_BYTES, TrackData

GRAM_DOUBLINGS = 5
GRAM = 2**GRAM_DOUBLINGS
"""So many tokens in a row are nobody's boilerplate."""
ONE_IN = np.uint64(8)
"""Of all runs, by their hash, so that both sides keep the same ones."""
SAME_SHARE = 0.5
"""A document of which so many runs are found is there, whole or edited."""
MIN_SAME_TOKENS = 16
"""Shorter documents are the same by chance."""
BLOCK_TOKENS = 4_000_000
MAX_TOKENS = 400_000_000
"""Of the training data that are searched, about a minute on one core."""
FACTOR = 0x9E3779B97F4A7C15


def search(data: TrackData) -> OverlapRecord:
    """Look for every validation document in the training shards, from the first one on.

    Raises:
        OSError: a shard cannot be read.
    """
    text = np.concatenate(tokens_of(data, "val"))
    hashes, begins = kept_grams(text)
    document = np.cumsum(text == text[0])[begins] - 1
    known, whole = np.unique(hashes), document_hashes(text, int(text[0]))
    says_something = np.bincount(np.cumsum(text == text[0]) - 1) > MIN_SAME_TOKENS
    is_found, searched = np.zeros(len(known), dtype=bool), 0
    is_same = np.zeros(len(whole), dtype=bool)
    shards = [data.folder / f.path for f in data.files if "_train_" in f.path]
    for block in _blocks(shards):
        searched += len(block)
        seen, _ = kept_grams(block)
        index = np.minimum(np.searchsorted(known, seen), len(known) - 1)
        if len(known):
            is_found[index[known[index] == seen]] = True
        # The last document of a block may go on in the next one.
        is_same |= np.isin(whole, document_hashes(block, int(text[0]))[:-1])
    found = is_found[np.searchsorted(known, hashes)]
    grams = np.bincount(document, minlength=len(whole))
    hits = np.bincount(document, weights=found, minlength=len(whole))
    is_same &= says_something
    is_there = (grams > 0) & (hits >= SAME_SHARE * grams)
    return OverlapRecord(
        num_documents=int(((grams > 0) | is_same).sum()),
        num_found=int((is_there | is_same).sum()),
        num_same=int(is_same.sum()),
        num_runs=len(hashes),
        num_runs_found=int(found.sum()),
        searched_tokens=searched,
        training_tokens=sum(f.num_tokens or 0 for f in data.files if "_train_" in f.path),
    )


def kept_grams(tokens: Tokens) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hashes of one run of 32 tokens in eight, and where in the tokens each begins."""
    hashes, factor = tokens.astype(np.uint64) + np.uint64(1), FACTOR
    for doubling in range(GRAM_DOUBLINGS):
        width = 2**doubling
        hashes = hashes[: max(len(hashes) - width, 0)] * np.uint64(factor) + hashes[width:]
        factor = factor * factor % 2**64
    mixed = hashes ^ (hashes >> np.uint64(32))
    begins = np.flatnonzero(mixed % ONE_IN == 0)
    return mixed[begins], begins


def document_hashes(tokens: Tokens, start: int) -> NDArray[np.uint64]:
    """A hash of each document's words in their order; what stands before the first is left out."""
    starts = np.flatnonzero(tokens == start)
    if not len(starts):
        return np.empty(0, dtype=np.uint64)
    words = tokens[starts[0] :].astype(np.uint64)
    places = np.arange(len(words), dtype=np.uint64)
    begins = starts - starts[0]
    places -= np.repeat(begins, np.diff([*begins, len(words)])).astype(np.uint64)
    mixed = (words + (places << np.uint64(16))) * np.uint64(FACTOR)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(FACTOR)
    return np.asarray(np.add.reduceat(mixed, begins))


def _blocks(shards: list[Path]) -> Iterator[Tokens]:
    """The shards' tokens in pieces; a run across two pieces is in the first."""
    left = MAX_TOKENS
    for shard in shards:
        tokens = np.memmap(shard, dtype="<u2", mode="r", offset=HEADER_BYTES)
        for begin in range(0, min(len(tokens), left), BLOCK_TOKENS):
            yield np.asarray(tokens[begin : begin + BLOCK_TOKENS + GRAM - 1])
        left -= len(tokens)
        if left <= 0:
            return
