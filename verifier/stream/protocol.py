"""The bytes between harness and submission; docs/stream.md is this page for authors.

All words are unsigned 32-bit, probabilities 32-bit floats, both little-endian. The harness asks:

    version, kind, lanes, words       then so many words:
        OPEN   lanes × given, then all given tokens, lane after lane
        STEP   lanes × (lane, token)
        CLOSE  none

and every OPEN and STEP is answered before the next comes, a row for each lane that it names:

    version, number, rows, vocabulary     then rows × vocabulary natural logarithms

L lanes, V tokens of the vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verifier.errors import PgolfError

VERSION = 1
CLOSE, OPEN, STEP = 0, 1, 2
HEADER = np.dtype("<u4")
HEADER_BYTES = 4 * HEADER.itemsize
LOG_PROBABILITY = np.dtype("<f4")
MAX_VOCABULARY = 2**16
"""Tokens of shards have 16 bits."""
MAX_ANSWER_VALUES = 2**23
"""Rows times vocabulary: what we hold of an answer in float64 then takes 64 MiB a copy."""
TOLERANCE_NATS = 1e-4
"""By how much a distribution's sum may miss one (issue 1017, condition 2); the score is of the
distribution divided by its sum, so that nothing is won within it."""

Tokens = NDArray[np.uint16]


class BrokenStreamError(PgolfError):
    """The submission's side did not keep to the protocol; ends the session, not the harness."""


def open_message(given: Sequence[Tokens]) -> bytes:
    """Begin a round: what was said before is over, each row of given tokens is a lane.

    No lane is told where it lies on the tape: where one begins, another ends.
    """
    lengths = np.array([len(tokens) for tokens in given])
    return _message(OPEN, len(given), np.concatenate([lengths, *given]))


def step_message(lanes: NDArray[np.intp], tokens: Tokens) -> bytes:
    """Show each lane the token that its last answer was for; lanes that are not named are over."""
    return _message(STEP, len(lanes), np.stack([lanes, tokens], axis=1).ravel())


def close_message() -> bytes:
    """Nothing more is asked."""
    return _message(CLOSE, 0, np.empty(0))


def _message(kind: int, num_lanes: int, body: NDArray[np.generic]) -> bytes:
    header = np.array([VERSION, kind, num_lanes, len(body)], dtype=HEADER)
    return header.tobytes() + body.astype(HEADER).tobytes()


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """The one answer that may come now."""

    number: int
    """Answers before it in this session."""
    num_rows: int
    smallest_vocabulary: int
    vocabulary: int | None
    """As in the first answer; None before it."""

    def vocabulary_of(self, header: bytes) -> int:
        """Read an answer's header.

        Raises:
            BrokenStreamError: it is another one's.
        """
        version, number, num_rows, vocabulary = map(int, np.frombuffer(header, HEADER))
        if (version, number, num_rows) != (VERSION, self.number, self.num_rows):
            raise BrokenStreamError(
                f"answer {self.number}: its header says version {version}, number {number}, "
                f"{num_rows} rows, and should say {VERSION}, {self.number}, {self.num_rows}"
            )
        if self.vocabulary is not None and vocabulary != self.vocabulary:
            raise BrokenStreamError(
                f"answer {number}: {vocabulary} tokens in its vocabulary, {self.vocabulary} before"
            )
        if not self.smallest_vocabulary <= vocabulary <= MAX_VOCABULARY:
            raise BrokenStreamError(
                f"answer {number}: a vocabulary of {vocabulary} tokens; the data take at least "
                f"{self.smallest_vocabulary} and at most {MAX_VOCABULARY}"
            )
        if num_rows * vocabulary > MAX_ANSWER_VALUES:
            raise BrokenStreamError(
                f"answer {number}: {num_rows} rows of {vocabulary} are more than "
                f"{MAX_ANSWER_VALUES:,} values; offer fewer lanes in pgolf.yaml"
            )
        return vocabulary


@dataclass(frozen=True, kw_only=True, slots=True)
class Distributions:
    """A checked answer."""

    log_probabilities: NDArray[np.float64]  # (L, V), each row's probabilities add up to one
    largest_excess: float
    """The most by which ln of a row's sum was not zero before it was divided by its sum, nats."""


def read_distributions(body: bytes | bytearray, vocabulary: int, number: int) -> Distributions:
    """Check an answer's rows and divide each by its sum, in float64.

    Raises:
        BrokenStreamError: a value is no finite number, or a row does not add up to one.
    """
    rows = np.frombuffer(body, LOG_PROBABILITY).reshape(-1, vocabulary).astype(np.float64)
    if not np.isfinite(rows).all():
        raise BrokenStreamError(f"answer {number}: a logarithm of a probability is not finite")
    with np.errstate(over="ignore", divide="ignore"):  # sums of zero or infinity fail below
        excess = np.log(np.exp(rows).sum(axis=1))
    worst = int(np.abs(excess).argmax())
    if not abs(excess[worst]) <= TOLERANCE_NATS:
        raise BrokenStreamError(
            f"answer {number}: row {worst} adds up to {np.exp(min(excess[worst], 700.0)):.6g}, "
            f"not to 1 within {TOLERANCE_NATS:g}"
        )
    return Distributions(
        log_probabilities=rows - excess[:, None], largest_excess=float(abs(excess[worst]))
    )
