"""Bytes per token id: the denominator of bits per byte, as the challenge counts it.

A token is worth the UTF-8 bytes of its piece without the leading "▁" (byte tokens: 1; control,
unknown and unused tokens: 0), plus 1 for the space that "▁" stands for, unless the token before
it is a boundary, that is a control, unknown or unused token. So a space right after BOS is free.
Pieces are cut after the tokenizer's normalisation: the bytes counted are those of the decoded
text, not of the raw document (source: `build_sentencepiece_luts` of the public baseline).
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sentencepiece

from trainer.errors import DataError

SPACE_MARK = "▁"
PURE_BYTE_OFFSET = 4  # the published byte260 set: pad, bos, eos, unk, then the 256 bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class ByteTable:
    """What each token id is worth; V is the vocabulary size."""

    base_bytes: np.ndarray  # (V,) int16: bytes of the piece without its leading space mark
    has_leading_space: np.ndarray  # (V,) bool: the piece starts with the space mark
    is_boundary: np.ndarray  # (V,) bool: after this token a leading space is not charged


def load_byte_table(tokenizer_path: Path | str, vocab_size: int) -> ByteTable:
    """The byte table of a SentencePiece model, or of the published pure-byte `.json`.

    Raises:
        DataError: the file is no tokenizer, or its vocabulary is not `vocab_size`.
    """
    path = Path(tokenizer_path)
    table = pure_byte_table(path) if path.suffix == ".json" else sentencepiece_byte_table(path)
    if table.base_bytes.size != vocab_size:
        raise DataError(
            f"{path}: the tokenizer has {table.base_bytes.size} tokens, but the vocabulary size "
            f"asked for is {vocab_size}: set model.vocab_size, or take the data of that vocabulary"
        )
    return table


def sentencepiece_byte_table(path: Path) -> ByteTable:
    """The table of a SentencePiece model, token by token.

    Raises:
        DataError: the file is no SentencePiece model.
    """
    pieces = load_sentencepiece(path)
    size = pieces.vocab_size()
    base_bytes = np.zeros(size, dtype=np.int16)
    has_leading_space = np.zeros(size, dtype=np.bool_)
    is_boundary = np.zeros(size, dtype=np.bool_)
    for token in range(size):
        piece = pieces.id_to_piece(token)
        if pieces.is_control(token) or pieces.is_unknown(token) or pieces.is_unused(token):
            is_boundary[token] = True
        elif pieces.is_byte(token):
            base_bytes[token] = 1
        else:
            has_leading_space[token] = piece.startswith(SPACE_MARK)
            base_bytes[token] = len(piece.removeprefix(SPACE_MARK).encode())
    return ByteTable(
        base_bytes=base_bytes, has_leading_space=has_leading_space, is_boundary=is_boundary
    )


def load_sentencepiece(path: Path) -> sentencepiece.SentencePieceProcessor:
    """Read a SentencePiece model.

    Raises:
        DataError: the file is missing or no SentencePiece model.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such tokenizer; give the path of a SentencePiece .model file")
    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError):
        raise DataError(f"{path}: not a SentencePiece model; fetch or train it again") from None


def pure_byte_table(path: Path) -> ByteTable:
    """The table of the published byte260 tokenizer: every token but the first four is one byte.

    Raises:
        DataError: the file does not describe that tokenizer.
    """
    try:
        description = json.loads(path.read_bytes())
    except (OSError, ValueError):
        raise DataError(
            f"{path}: cannot read it as a pure-byte tokenizer; fetch it again"
        ) from None
    if not isinstance(description, dict) or description.get("tokenizer_type") != "pure_byte":
        raise DataError(f"{path}: not a pure-byte tokenizer; give a .model or the published .json")
    is_boundary = np.arange(PURE_BYTE_OFFSET + 256) < PURE_BYTE_OFFSET
    return ByteTable(
        base_bytes=(~is_boundary).astype(np.int16),
        has_leading_space=np.zeros_like(is_boundary),
        is_boundary=is_boundary,
    )


def count_bytes(table: ByteTable, previous_ids: np.ndarray, target_ids: np.ndarray) -> int:
    """Bytes that the targets stand for.

    Args:
        table: the tokenizer's byte table.
        previous_ids: (n,) the token before each target.
        target_ids: (n,) the tokens to be charged.
    """
    charged_space = table.has_leading_space[target_ids] & ~table.is_boundary[previous_ids]
    return int(table.base_bytes[target_ids].sum(dtype=np.int64)) + int(charged_space.sum())
