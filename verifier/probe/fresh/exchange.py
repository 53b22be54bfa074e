"""Two groups of documents, one of which may be known: is it easier than it ought to be?

If the documents of both groups were drawn alike and the artifact knows neither, then which of them
are called validation documents is a drawing of lots, whatever the losses are. So the share of all
lots that make as large a gap is a p-value, exact at every size. Losses differ among documents
mostly by how hard their text is; what a table of pairs finds hard is taken off first, from all of
them alike and without a look at the labels, so that the lots stay fair.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verifier.probe.tapes.variants import Tokens

NUM_LOTS = 99_999
LOTS_AT_ONCE = 5_000
NUM_BUCKETS = 2**20
SMOOTHING = 50.0
"""How many words of its own count a word's followers are mixed with."""
MAX_TRAINING_TOKENS = 8_000_000
Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """How much harder the unknown group is."""

    size: float
    error: float
    """Standard deviation over lots."""
    p_value: float


class PairTable:
    """How hard text is for counts of words and of pairs, from training data: nats a token."""

    def __init__(self, training: Tokens) -> None:
        tokens = training[:MAX_TRAINING_TOKENS].astype(np.int64)
        self._words = np.bincount(tokens, minlength=2**16) + 0.5
        self._words /= self._words.sum()
        self._pairs = np.bincount(_bucket(tokens), minlength=NUM_BUCKETS)
        self._before = np.bincount(tokens[:-1], minlength=2**16)

    def hardness(self, document: Tokens) -> tuple[float, float]:
        """Nats of a document by words alone and by pairs, its start given."""
        tokens = document.astype(np.int64)
        words, before = self._words[tokens[1:]], self._before[tokens[:-1]]
        pairs = (self._pairs[_bucket(tokens)] + SMOOTHING * words) / (before + SMOOTHING)
        return float(-np.log(words).sum()), float(-np.log(pairs).sum())


def compare(
    values: Numbers,
    weights: Numbers,
    hardness: Sequence[Numbers],
    is_unknown: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Gap:
    """The gap between both groups' weighted means, and how often lots make one as large.

    Args:
        values: (D,) one a document, such as bits a byte.
        weights: (D,) such as bytes.
        hardness: of each kind (D,) in the unit of the values; what they explain is taken off.
        is_unknown: (D,) the group that should be harder if the other one is known.
        rng: draws the lots.
    """
    design = np.stack([np.ones_like(values), *hardness], axis=1)
    root = np.sqrt(weights)
    explained = np.linalg.lstsq(design * root[:, None], values * root, rcond=None)[0]
    rest = weights * (values - design @ explained)
    drawn = [
        _gaps(rng.permuted(np.tile(is_unknown, (count, 1)), axis=1), rest, weights)
        for count in _portions()
    ]
    gaps, real = np.concatenate(drawn), _gaps(is_unknown[None], rest, weights)[0]
    slack = 1e-12 * abs(real)  # lots equal to the real one are as large
    return Gap(
        size=float(real),
        error=float(gaps.std()),
        p_value=float((1 + (gaps >= real - slack).sum()) / (1 + len(gaps))),
    )


def _portions() -> list[int]:
    whole, rest = divmod(NUM_LOTS, LOTS_AT_ONCE)
    return [LOTS_AT_ONCE] * whole + [rest]


def _gaps(labels: NDArray[np.bool_], rest: Numbers, weights: Numbers) -> Numbers:
    """(L,) the gap of each row of labels (L, D)."""
    of_unknown, sizes = labels @ rest, labels @ weights
    return np.asarray(
        of_unknown / sizes - (rest.sum() - of_unknown) / (weights.sum() - sizes),
        dtype=np.float64,
    )


def _bucket(tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    return (tokens[:-1] * 104_729 + tokens[1:] * 31) % NUM_BUCKETS
