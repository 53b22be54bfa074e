"""Codes in as few bytes as their frequencies allow: range asymmetric numeral systems (rANS).

arXiv 1311.2540, in NumPy: many independent states ("lanes") take the symbols in turn, so that one
array operation codes a symbol of each. How many bits a symbol takes depends on its class: every
class has a table of frequencies of its own.

N symbols, K classes, L lanes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

NUM_VALUES = 256  # of a symbol: an int8 code, shifted to start at 0
PRECISION_BITS = 14
TOTAL = 1 << PRECISION_BITS  # what the frequencies of a class add up to
WORD_BITS = 16
LOW = 1 << WORD_BITS  # states stay from 2^16 to 2^32, by giving off and taking in words
MAX_LANES = 1024  # four bytes each


@dataclass(frozen=True, kw_only=True, slots=True)
class CodedSymbols:
    """Codes as bytes; it takes their classes to read them."""

    tables: bytes  # (K, 256) uint16 frequencies; they compress well
    words: bytes  # (L,) uint32 states and the words in the order of reading; incompressible


def encode_symbols(
    codes: np.ndarray,  # (N,) int8
    classes: np.ndarray,  # (N,) uint16
) -> CodedSymbols:
    """Encode, the last symbol first: states work like stacks."""
    symbols = codes.view(np.uint8) ^ 128  # -128 becomes 0
    places = classes.astype(np.uint32) << 8 | symbols
    num_classes = int(classes.max(initial=0)) + 1
    counts = np.bincount(places, minlength=num_classes * NUM_VALUES).reshape(-1, NUM_VALUES)
    frequencies = np.stack([scaled_to_total(row) for row in counts])
    widths = frequencies.ravel().astype(np.uint64)
    starts = starts_of(frequencies).ravel().astype(np.uint64)
    states = np.full(min(MAX_LANES, codes.size), LOW, dtype=np.uint64)
    words: list[np.ndarray] = []
    for step in reversed(list(steps_of(codes.size))):
        own = places[step]
        state, width = states[: own.size], widths[own]
        is_full = state >= width << np.uint64(2 * WORD_BITS - PRECISION_BITS)
        words.append(state[is_full].astype("<u2"))
        state[is_full] >>= np.uint64(WORD_BITS)
        turns, rest = np.divmod(state, width)
        state[:] = (turns << np.uint64(PRECISION_BITS)) + rest + starts[own]
    return CodedSymbols(
        tables=frequencies.astype("<u2").tobytes(),
        words=states.astype("<u4").tobytes() + b"".join(w.tobytes() for w in reversed(words)),
    )


def decode_symbols(coded: CodedSymbols, classes: np.ndarray) -> np.ndarray:  # (N,) int8
    """What `encode_symbols` was given.

    Raises:
        ValueError: the bytes are damaged, or belong to other classes.
    """
    frequencies = np.frombuffer(coded.tables, dtype="<u2").reshape(-1, NUM_VALUES)
    if (frequencies.sum(axis=1, dtype=np.int64) != TOTAL).any():
        raise ValueError("frequencies do not add up")
    if int(classes.max(initial=0)) >= len(frequencies):
        raise ValueError("classes without frequencies")
    widths, starts = frequencies.ravel().astype(np.uint32), starts_of(frequencies).ravel()
    symbol_at = np.concatenate([np.repeat(np.arange(NUM_VALUES), row) for row in frequencies])
    symbol_at = symbol_at.astype(np.uint8)
    num_lanes = min(MAX_LANES, classes.size)
    states = np.frombuffer(coded.words, dtype="<u4", count=num_lanes).copy()
    words = np.frombuffer(coded.words, dtype="<u2", offset=4 * num_lanes)
    symbols = np.empty(classes.size, dtype=np.uint8)
    position = 0
    for step in steps_of(classes.size):
        own = classes[step].astype(np.uint32)
        state = states[: own.size]
        slot = state & np.uint32(TOTAL - 1)
        symbol = symbol_at[own << PRECISION_BITS | slot]
        place = own << 8 | symbol
        state[:] = widths[place] * (state >> np.uint32(PRECISION_BITS)) + slot - starts[place]
        symbols[step] = symbol
        needs_word = state < LOW
        taken = words[position : position + np.count_nonzero(needs_word)]
        state[needs_word] = state[needs_word] << np.uint32(WORD_BITS) | taken
        position += taken.size
    if position != words.size or (states != LOW).any():
        raise ValueError("codes do not end where they should")
    codes: np.ndarray = (symbols ^ 128).view(np.int8)
    return codes


def steps_of(num_symbols: int) -> Iterator[slice]:
    """The symbols that lanes take at once; fewer at the end."""
    for start in range(0, num_symbols, MAX_LANES):
        yield slice(start, min(start + MAX_LANES, num_symbols))


def scaled_to_total(counts: np.ndarray) -> np.ndarray:  # (256,) → (256,) int64
    """Frequencies in proportion to counts, at least 1 for each value that occurs."""
    scaled: np.ndarray = np.maximum(counts * TOTAL // max(int(counts.sum()), 1), counts > 0)
    while (surplus := int(scaled.sum()) - TOTAL) > 0:
        largest = scaled.argmax()
        scaled[largest] -= min(surplus, scaled[largest] // 2)
    scaled[scaled.argmax()] -= surplus
    return scaled


def starts_of(frequencies: np.ndarray) -> np.ndarray:  # (K, 256) → (K, 256) uint32
    """Where each value's share of the total begins."""
    starts: np.ndarray = frequencies.cumsum(axis=1, dtype=np.uint32) - frequencies
    return starts.astype(np.uint32)
