"""Matrices of codes, entropy coded; each code by how large those of its row and column are.

Rows and columns have levels: logarithms of their codes' root mean square, in steps of a quarter
of an octave. What the row's and the column's level add up to is the code's class, the same in all
matrices: classes are few, so that their frequencies cost little and are well known.

R rows, C columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.quantization.entropy_coding import (
    CodedSymbols,
    decode_symbols,
    encode_symbols,
)

LEVELS_PER_OCTAVE = 4
LEAST_SIZE = 1 / 16  # root mean square of a row or column that is all but zero
NUM_CLASSES = 12 * LEVELS_PER_OCTAVE  # from 1/16 to 256


@dataclass(frozen=True, kw_only=True, slots=True)
class CodedMatrices:
    """Matrices as bytes; it takes their shapes to read them."""

    side: bytes  # levels and frequencies, which still compress
    words: bytes  # which do not


def encode_matrices(matrices: Sequence[np.ndarray]) -> CodedMatrices:  # (R, C) int8 each
    """One stream for all matrices."""
    if not matrices:
        return CodedMatrices(side=b"", words=b"")
    levels = [code_levels(matrix) for matrix in matrices]
    codes = np.concatenate([matrix.ravel() for matrix in matrices])
    coded = encode_symbols(codes, np.concatenate([classes_of(*pair).ravel() for pair in levels]))
    sides = [part.astype(np.int8).tobytes() for pair in levels for part in pair]
    return CodedMatrices(side=b"".join(sides) + coded.tables, words=coded.words)


def decode_matrices(
    shapes: Sequence[tuple[int, int]], coded: CodedMatrices
) -> list[np.ndarray]:  # (R, C) int8 each
    """What `encode_matrices` was given.

    Raises:
        ValueError: the bytes are damaged, or belong to other shapes.
    """
    if not shapes:
        return []
    num_levels = sum(rows + columns for rows, columns in shapes)
    tables = coded.side[num_levels:]
    levels = np.frombuffer(coded.side, dtype=np.int8, count=num_levels).astype(np.int64)
    ends = np.cumsum([length for shape in shapes for length in shape])
    parts = np.split(levels, ends[:-1])
    classes = [classes_of(*pair) for pair in zip(parts[::2], parts[1::2], strict=True)]
    codes = decode_symbols(
        CodedSymbols(tables=tables, words=coded.words),
        np.concatenate([one.ravel() for one in classes]),
    )
    ends = np.cumsum([rows * columns for rows, columns in shapes])
    return [
        part.reshape(shape) for part, shape in zip(np.split(codes, ends[:-1]), shapes, strict=True)
    ]


def code_levels(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # (R, C) → (R,), (C,) int64
    """The levels of rows, and those of columns relative to the rows that they run through."""
    squares = codes.astype(np.float32) ** 2
    rows = np.maximum(np.sqrt(squares.mean(axis=1)), LEAST_SIZE)
    columns = np.sqrt((squares / rows[:, None] ** 2).mean(axis=0))
    return level_of(rows), level_of(np.maximum(columns, LEAST_SIZE))


def level_of(sizes: np.ndarray) -> np.ndarray:
    """Logarithms in whole steps; a size of 1 has level 0."""
    levels: np.ndarray = np.rint(LEVELS_PER_OCTAVE * np.log2(sizes))
    return levels.astype(np.int64)


def classes_of(row_levels: np.ndarray, column_levels: np.ndarray) -> np.ndarray:  # (R, C) uint16
    """The class of each code, from 0 for codes that are all but certainly zero."""
    levels: np.ndarray = row_levels[:, None] + column_levels - level_of(np.array(LEAST_SIZE))
    return levels.clip(0, NUM_CLASSES - 1).astype(np.uint16)
