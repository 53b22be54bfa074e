"""The harness's side of a session: a token goes out only after its distribution has come in."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verifier.stream.channel import Channel
from verifier.stream.protocol import (
    HEADER_BYTES,
    LOG_PROBABILITY,
    Distributions,
    Expected,
    Tokens,
    close_message,
    open_message,
    read_distributions,
    step_message,
)

Reveal = Callable[[int, NDArray[np.intp], NDArray[np.float64]], Tokens]
"""Step, its lanes (L,), their log-probabilities (L, V) → the token of each, shown next."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long the submission may take, in seconds."""

    first_seconds: float
    """From its start to its first answer: it loads and may compile."""
    answer_seconds: float
    until: float = math.inf
    """`time.monotonic()` from which on no further token is shown."""


@dataclass(kw_only=True, slots=True)
class Predictor:
    """A submission that answers over a channel."""

    channel: Channel
    patience: Patience
    smallest_vocabulary: int
    vocabulary: int | None = None
    num_answers: int = 0
    largest_excess: float = 0.0
    first_answer: float | None = None
    last_answer: float = 0.0
    """`time.monotonic()` of both."""

    def run_round(self, given: Sequence[Tokens], lengths: NDArray[np.int64], reveal: Reveal) -> int:
        """Ask for every target of pieces side by side; gives the steps that there was time for.

        Args:
            given: the tokens that each piece begins with.
            lengths: (L,) targets of each, at least one; an end is told when it is over.
            reveal: is handed each step's distributions and says what was to be predicted. It is
                called once the answer is held and checked, and nobody else hands tokens on.

        Raises:
            BrokenStreamError: the submission broke the protocol.
        """
        message = open_message(given)
        num_steps = int(lengths.max())
        for step in range(num_steps):
            if time.monotonic() > self.patience.until:
                return step
            lanes = np.flatnonzero(lengths > step)
            held = self._ask(message, len(lanes))
            tokens = reveal(step, lanes, held.log_probabilities)
            goes_on = lengths[lanes] > step + 1
            message = step_message(lanes[goes_on], tokens[goes_on])
        return num_steps

    @property
    def predicting_seconds(self) -> float:
        """From the first answer to the last."""
        return 0.0 if self.first_answer is None else self.last_answer - self.first_answer

    def close(self) -> None:
        """Say that nothing more is asked."""
        self.channel.send(close_message(), self.patience.answer_seconds)

    def _ask(self, message: bytes, num_rows: int) -> Distributions:
        first, later = self.patience.first_seconds, self.patience.answer_seconds
        seconds = later if self.num_answers else first
        self.channel.send(message, seconds)
        expected = Expected(
            number=self.num_answers,
            num_rows=num_rows,
            smallest_vocabulary=self.smallest_vocabulary,
            vocabulary=self.vocabulary,
        )
        vocabulary = expected.vocabulary_of(bytes(self.channel.receive(HEADER_BYTES, seconds)))
        num_bytes = num_rows * vocabulary * LOG_PROBABILITY.itemsize
        body = self.channel.receive(num_bytes, seconds)
        held = read_distributions(body, vocabulary, self.num_answers)
        self.vocabulary = vocabulary
        self.last_answer = time.monotonic()
        self.first_answer = self.first_answer or self.last_answer
        self.num_answers += 1
        self.largest_excess = max(self.largest_excess, held.largest_excess)
        return held
