"""Two ways through a group of pieces: scoring a text that we hold, decoding one from its code.

N targets, L lanes, S steps of the longest lane, V tokens of the vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from verifier.stream.coding import Decoder, Encoder
from verifier.stream.pieces import Piece, rounds
from verifier.stream.predictor import Predictor
from verifier.stream.protocol import BrokenStreamError, Tokens

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """What goes through a submission in one session."""

    pieces: Sequence[Piece]
    tape: Tokens
    num_lanes: int

    @property
    def targets(self) -> Tokens:
        """(N,) piece after piece."""
        return np.concatenate([piece.targets(self.tape) for piece in self.pieces])


@dataclass(frozen=True, kw_only=True, slots=True)
class Coded:
    """What one session had time for."""

    pieces: Sequence[Piece]
    """The last ones are cut short where it had no more."""
    losses: NDArray[np.float64]  # (N,) nats, piece after piece
    code: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reading:
    """A round over known text."""

    targets: Tokens  # (S, L)
    losses: NDArray[np.float64]  # (S, L) nats
    encoder: Encoder

    def reveal(
        self, step: int, lanes: NDArray[np.intp], log_probabilities: NDArray[np.float64]
    ) -> Tokens:
        tokens: Tokens = self.targets[step, lanes]
        self.losses[step, lanes] = -log_probabilities[np.arange(len(lanes)), tokens]
        self.encoder.take(tokens, log_probabilities)
        return tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class _Decoding:
    """A round over text that only its code tells."""

    targets: Tokens  # (S, L), filled on the way
    decoder: Decoder

    def reveal(
        self, step: int, lanes: NDArray[np.intp], log_probabilities: NDArray[np.float64]
    ) -> Tokens:
        tokens = self.decoder.give(log_probabilities)
        self.targets[step, lanes] = tokens
        return tokens


def score(passage: Passage, predictor: Predictor, has_time: Callable[[], bool]) -> Coded:
    """Losses and code of the first pieces, as many as there is time for.

    Raises:
        BrokenStreamError: the submission broke the protocol, or has no time for a single token.
    """
    encoder, losses = Encoder(), list[NDArray[np.float64]]()
    streamed: list[Piece] = []
    for pieces in rounds(passage.pieces, passage.num_lanes):
        if losses and not has_time():
            break
        lengths = _lengths(pieces)
        reading = _Reading(
            targets=_side_by_side([piece.targets(passage.tape) for piece in pieces]),
            losses=np.zeros((lengths.max(), len(lengths))),
            encoder=encoder,
        )
        steps = predictor.run_round(_given(pieces, passage.tape), lengths, reading.reveal)
        if steps == 0:
            break
        losses.append(_end_to_end(reading.losses, np.minimum(lengths, steps)))
        streamed += [replace(p, end=min(p.end, p.begin + steps)) for p in pieces]
        if steps < lengths.max():
            break
    if not losses:
        raise BrokenStreamError("it had no time for a single token")
    return Coded(pieces=streamed, losses=np.concatenate(losses), code=encoder.code())


def decode(passage: Passage, code: bytes, predictor: Predictor) -> Tokens:
    """The targets (N,) that a code stands for, piece after piece.

    Of the passage's tape nothing is used but what is given and how long the pieces are.

    Raises:
        BrokenStreamError: the submission broke the protocol.
    """
    decoder, targets = Decoder(code), []
    for pieces in rounds(passage.pieces, passage.num_lanes):
        lengths = _lengths(pieces)
        empty = np.zeros((lengths.max(), len(lengths)), dtype=np.uint16)
        decoding = _Decoding(targets=empty, decoder=decoder)
        predictor.run_round(_given(pieces, passage.tape), lengths, decoding.reveal)
        targets.append(_end_to_end(decoding.targets, lengths))
    return np.concatenate(targets)


def _given(pieces: Sequence[Piece], tape: Tokens) -> list[Tokens]:
    return [piece.given(tape) for piece in pieces]


def _lengths(pieces: Sequence[Piece]) -> NDArray[np.int64]:
    return np.array([piece.num_targets for piece in pieces])


def _side_by_side(rows: Sequence[Tokens]) -> Tokens:
    """(S, L): a column for each row, filled up with zeros."""
    table = np.zeros((max(map(len, rows)), len(rows)), dtype=np.uint16)
    for lane, row in enumerate(rows):
        table[: len(row), lane] = row
    return table


def _end_to_end(table: NDArray[Number], lengths: NDArray[np.int64]) -> NDArray[Number]:
    """(N,): the columns, each as long as it is."""
    return np.concatenate([table[:length, lane] for lane, length in enumerate(lengths)])
