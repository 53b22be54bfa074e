"""Where in a text a row of its tokens stands."""

import numpy as np
from numpy.typing import NDArray

from verifier.probe.variants import Tokens

GRAM = 8
"""So many tokens in a row tell where they stand, if they occur there alone."""
FACTOR = np.uint64(0x9E3779B97F4A7C15)
UNKNOWN = -1


class Places:
    """Finds rows of a tape's targets again."""

    def __init__(self, tape: Tokens) -> None:
        self._tokens = tape.astype(np.int64)
        hashes = _grams(self._tokens[1:])
        unique, first, counts = np.unique(hashes, return_index=True, return_counts=True)
        self._hashes, self._places = unique[counts == 1], first[counts == 1] + 1

    def of(self, targets: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) each target's place in the tape, or −1.

        Runs of eight that the tape has once are anchors; what leads up to one, or on from one, and
        agrees with the tape token by token, stands beside it. Where two rows meet, a token may be
        taken for one of the other row, if the tape goes on alike by chance.

        Args:
            targets: (n,) rows of tokens, one after another.
        """
        place = np.full(len(targets), UNKNOWN)
        if len(targets) >= GRAM and len(self._hashes):
            hashes = _grams(targets)
            index = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
            found = np.flatnonzero(self._hashes[index] == hashes)
            place[found] = self._places[index[found]]
        onward = self._extended(place, targets, 1)
        backward = self._extended(place[::-1], targets[::-1], -1)[::-1]
        return np.where(onward >= 0, onward, backward)

    def _extended(
        self, place: NDArray[np.int64], targets: NDArray[np.int64], direction: int
    ) -> NDArray[np.int64]:
        """Go on from each anchor for as long as the tape has the same tokens."""
        index = np.arange(len(place))
        anchor = np.maximum.accumulate(np.where(place >= 0, index, -1))
        guess = place[anchor] + direction * (index - anchor)
        inside = (anchor >= 0) & (guess >= 1) & (guess < len(self._tokens))
        agrees = inside & (self._tokens[np.where(inside, guess, 0)] == targets)
        misses = np.cumsum(~agrees)
        unbroken = agrees & (misses == misses[np.maximum(anchor, 0)])
        return np.where(unbroken, guess, UNKNOWN)


def _grams(tokens: NDArray[np.int64]) -> NDArray[np.uint64]:
    """(n − 7,) a hash of each run of eight."""
    values = tokens.astype(np.uint64) + np.uint64(1)
    size = max(len(values) - GRAM + 1, 0)
    hashes = np.zeros(size, dtype=np.uint64)
    for offset in range(GRAM):
        hashes = hashes * FACTOR + values[offset : offset + size]
    return hashes
