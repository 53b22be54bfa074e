"""Matrices of codes, entropy coded; each code by how large those of its row and column are.

A column's mean is taken off its codes: rows of an embedding lean one way, and those of tokens that
were hardly seen are all alike. Rows and columns have levels: logarithms of the root mean square of
what is left, in steps of a quarter of an octave. What the row's and the column's level add up to is
the code's class, the same in all matrices of one shape: those have the same grids, and classes so
few that their frequencies cost little and are well known.

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
NUM_CLASSES = 12 * LEVELS_PER_OCTAVE  # of a shape: from 1/16 to 256

Shape = tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class CodedMatrices:
    """Matrices as bytes; it takes their shapes to read them."""

    side: bytes  # means, levels and frequencies, which still compress
    words: bytes  # which do not


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeSizes:
    """How large the codes of a matrix are."""

    rows: np.ndarray  # (R,) int8 levels
    columns: np.ndarray  # (C,) int8 levels, relative to the rows that columns run through

    def classes(self) -> np.ndarray:  # (R, C) uint16
        """The class of each code, from 0 for codes that are all but certainly zero."""
        levels: np.ndarray = self.rows[:, None].astype(np.int16) + self.columns
        levels = (levels - level_of(LEAST_SIZE)).clip(0, NUM_CLASSES - 1)
        return levels.astype(np.uint16)


def encode_matrices(matrices: Sequence[np.ndarray]) -> CodedMatrices:  # (R, C) int8 each
    """One stream for all matrices."""
    if not matrices:
        return CodedMatrices(side=b"", words=b"")
    means = [column_means(matrix) for matrix in matrices]
    centred = [matrix - mean for matrix, mean in zip(matrices, means, strict=True)]
    sizes = [code_sizes(matrix) for matrix in centred]
    codes = np.concatenate([matrix.ravel() for matrix in centred])
    coded = encode_symbols(codes, stream_classes([matrix.shape for matrix in matrices], sizes))
    side = b"".join(
        part.tobytes()
        for size, mean in zip(sizes, means, strict=True)
        for part in (size.rows, size.columns, mean)
    )
    return CodedMatrices(side=side + coded.tables, words=coded.words)


def decode_matrices(
    shapes: Sequence[Shape], coded: CodedMatrices
) -> list[np.ndarray]:  # (R, C) int8 each
    """What `encode_matrices` was given.

    Raises:
        ValueError: the bytes are damaged, or belong to other shapes.
    """
    if not shapes:
        return []
    sizes, means, tables = read_side(shapes, coded.side)
    codes = decode_symbols(
        CodedSymbols(tables=tables, words=coded.words), stream_classes(shapes, sizes)
    )
    ends = np.cumsum([rows * columns for rows, columns in shapes])
    streams = zip(np.split(codes, ends[:-1]), shapes, means, strict=True)
    return [stream.reshape(shape) + mean for stream, shape, mean in streams]


def read_side(
    shapes: Sequence[Shape], side: bytes
) -> tuple[list[CodeSizes], list[np.ndarray], bytes]:  # …, (C,) int8 means, frequencies
    """What stands beside the words."""
    lengths = [length for rows, columns in shapes for length in (rows, columns, columns)]
    ends = np.cumsum(lengths)
    parts = np.split(np.frombuffer(side, dtype=np.int8, count=ends[-1]), ends[:-1])
    levels = zip(parts[::3], parts[1::3], strict=True)
    sizes = [CodeSizes(rows=rows, columns=columns) for rows, columns in levels]
    return sizes, parts[2::3], side[ends[-1] :]


def stream_classes(shapes: Sequence[Shape], sizes: Sequence[CodeSizes]) -> np.ndarray:  # (N,)
    """The classes of all codes: uint16, each shape with classes of its own."""
    first = {shape: NUM_CLASSES * place for place, shape in enumerate(sorted(set(shapes)))}
    parts = [
        size.classes().ravel() + np.uint16(first[shape])
        for shape, size in zip(shapes, sizes, strict=True)
    ]
    return np.concatenate(parts)


def column_means(codes: np.ndarray) -> np.ndarray:  # (R, C) → (C,) int8
    """The nearest whole number to each column's mean."""
    means: np.ndarray = np.rint(codes.mean(axis=0, dtype=np.float32)).astype(np.int8)
    return means


def code_sizes(codes: np.ndarray) -> CodeSizes:  # (R, C) int8
    """The levels of rows and columns."""
    squares = codes.astype(np.float32) ** 2
    rows = np.maximum(np.sqrt(squares.mean(axis=1)), LEAST_SIZE)
    columns = np.sqrt((squares / rows[:, None] ** 2).mean(axis=0))
    return CodeSizes(rows=level_of(rows), columns=level_of(np.maximum(columns, LEAST_SIZE)))


def level_of(sizes: np.ndarray | float) -> np.ndarray:
    """Logarithms in whole steps, int8; a size of 1 has level 0."""
    levels: np.ndarray = np.rint(LEVELS_PER_OCTAVE * np.log2(sizes))
    return levels.astype(np.int8)
