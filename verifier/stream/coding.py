"""Compress through a submission's distributions, and back: the proof that a score is a code.

The harness turns each distribution into whole numbers by exact rules, so that two runs that give
the same 32-bit floats give the same numbers. A run that differs in the last bit of one float moves
a boundary of the coder, and what is decoded from there on is other text.

L lanes, V tokens of the vocabulary.
"""

from dataclasses import dataclass, field

import constriction
import numpy as np
from numpy.typing import NDArray

from verifier.stream.protocol import Tokens

PRECISION_BITS = 24
"""Of the coder's probabilities."""
_MODELS = constriction.stream.model.Categorical(perfect=False)


def shares(log_probabilities: NDArray[np.float64]) -> NDArray[np.float64]:  # (L, V) → (L, V)
    """Whole numbers of 2^-24 that add up to one, at least one for each token.

    What rounding down leaves over goes to the first of the likeliest tokens.
    """
    whole = 2**PRECISION_BITS
    num_rows, num_tokens = log_probabilities.shape
    counts = np.floor(np.exp(log_probabilities) * (whole - num_tokens)) + 1.0
    counts = np.minimum(counts, whole - num_tokens + 1)
    likeliest = counts.argmax(axis=1)
    counts[np.arange(num_rows), likeliest] += whole - counts.sum(axis=1)
    return np.asarray(counts / whole)


@dataclass(kw_only=True, slots=True)
class Encoder:
    """Takes tokens in the order in which they are shown."""

    _coder: constriction.stream.queue.RangeEncoder = field(
        default_factory=constriction.stream.queue.RangeEncoder
    )

    def take(self, tokens: Tokens, log_probabilities: NDArray[np.float64]) -> None:
        self._coder.encode(tokens.astype(np.int32), _MODELS, shares(log_probabilities))

    def code(self) -> bytes:
        """All that a decoder needs beside the submission, in words of 32 bits."""
        return bytes(self._coder.get_compressed().astype("<u4").tobytes())


class Decoder:
    """Gives the tokens back, a step's at a time."""

    def __init__(self, code: bytes) -> None:
        words = np.frombuffer(code, "<u4").astype(np.uint32)
        self._coder = constriction.stream.queue.RangeDecoder(words)
        self._is_lost = False

    def give(self, log_probabilities: NDArray[np.float64]) -> Tokens:
        """One token a row; nonsense from the first distribution on that is not the encoder's."""
        if not self._is_lost:
            try:
                tokens = self._coder.decode(_MODELS, shares(log_probabilities))
                return np.asarray(tokens, dtype=np.uint16)
            except AssertionError:  # constriction's word for a place where no encoder can have been
                self._is_lost = True
        return np.zeros(len(log_probabilities), dtype=np.uint16)
