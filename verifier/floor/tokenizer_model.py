"""A SentencePiece model file with the wanted number of pieces, and how many bytes each stands for.

The file is a protobuf message (`sentencepiece_model.proto` of google/sentencepiece; its field
numbers stand below), written here so that the referee needs neither library. Its pieces are made
up, and of every sort that byte counting has stumbled over: with and without a space before them,
the space alone, one byte each, and letters of one, two and three bytes.
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verifier.errors import UsageError

PAD, BOS, EOS, UNK = range(4)
SPACE = "\u2581"
MIN_BYTE_FALLBACK_SIZE = 512
"""Smaller vocabularies have no byte pieces, as they would be little else."""
MIN_SIZE, MAX_SIZE = 16, 65_536
PRINTABLE = range(0x21, 0x7F)
"""Bytes that are text by themselves; others would make documents that cannot be decoded."""
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_BPE = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """One entry of the vocabulary."""

    text: str
    kind: int
    num_bytes: int
    """Without the space before it."""

    @property
    def has_space(self) -> bool:
        return self.kind == _NORMAL and self.text.startswith(SPACE)

    @property
    def is_word(self) -> bool:
        """Whether documents may hold it."""
        if self.kind == _BYTE:
            return int(self.text[1:-1], 16) in PRINTABLE
        return self.kind == _NORMAL


def make_pieces(vocab_size: int) -> tuple[Piece, ...]:
    """A vocabulary in the order of the public ones: control pieces, bytes, words.

    Raises:
        UsageError: too small to hold documents, or too large for a shard's 16 bits.
    """
    if not MIN_SIZE <= vocab_size <= MAX_SIZE:
        raise UsageError(
            f"a vocabulary of {vocab_size:,}: give --env VOCAB_SIZE between {MIN_SIZE} and "
            f"{MAX_SIZE:,}"
        )
    special = ("<pad>", "<s>", "</s>", "<unk>")
    pieces = [
        Piece(text=text, kind=_UNKNOWN if text == "<unk>" else _CONTROL, num_bytes=0)
        for text in special
    ]
    if vocab_size >= MIN_BYTE_FALLBACK_SIZE:
        pieces += [Piece(text=f"<0x{b:02X}>", kind=_BYTE, num_bytes=1) for b in range(256)]
    pieces.append(Piece(text=SPACE, kind=_NORMAL, num_bytes=0))
    pieces += [_word(number) for number in range(vocab_size - len(pieces))]
    return tuple(pieces)


def _word(number: int) -> Piece:
    """A word that no other number gives: its digits to base 26 as letters, two at least."""
    letters, rest = "", number
    while rest or len(letters) < 2:
        rest, digit = divmod(rest, 26)
        letters += chr(ord("a") + digit)
    letters += {0: "\u00e9", 3: "\u6f22"}.get(number % 7, "")
    text = SPACE + letters if number % 2 else letters
    return Piece(text=text, kind=_NORMAL, num_bytes=len(letters.encode()))


def target_bytes(
    pieces: tuple[Piece, ...],
    tokens: NDArray[np.uint16],  # (N + 1,)
) -> NDArray[np.int64]:  # (N,)
    """Bytes of text that each of the targets `tokens[1:]` stands for, as public scripts count them.

    A space before a piece counts unless it would start a document.
    """
    own = np.array([piece.num_bytes for piece in pieces])
    has_space = np.array([piece.has_space for piece in pieces])
    starts = np.array([piece.kind in (_UNKNOWN, _CONTROL) for piece in pieces])
    spaces = has_space[tokens[1:]] & ~starts[tokens[:-1]]
    return np.asarray(own[tokens[1:]] + spaces, dtype=np.int64)


def encode_model(pieces: tuple[Piece, ...]) -> bytes:
    """The model file's bytes: a BPE model without normalisation and without a dummy prefix."""
    content = b"".join(
        _message(
            _PIECES,
            _text(1, piece.text) + _float(2, -float(rank)) + _number(3, piece.kind),
        )
        for rank, piece in enumerate(pieces)
    )
    has_bytes = any(piece.kind == _BYTE for piece in pieces)
    trainer = {3: _BPE, 4: len(pieces), 35: int(has_bytes), 40: UNK, 41: BOS, 42: EOS, 43: PAD}
    content += _message(_TRAINER, b"".join(_number(*field) for field in trainer.items()))
    normalizer = _text(1, "identity") + b"".join(_number(field, 0) for field in (3, 4))
    return content + _message(_NORMALIZER, normalizer + _number(5, 1))


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())
