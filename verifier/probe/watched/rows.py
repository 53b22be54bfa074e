"""Rows of a tape's targets, followed from call to call.

Who adapts to each document reads several side by side, chunk by chunk. Their last chunks are filled
up with other words, and what is theirs may be a token or two; or a whole chunk stands elsewhere in
the text as well, as notices do. It goes on where a row of one of the calls before broke off, in the
same order of rows, and ends with its document at the latest.
"""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from verifier.probe.tapes.variants import Tokens
from verifier.probe.watched.placing import GRAM, UNKNOWN, Places

CALLS_KEPT = 4
"""Between two chunks of a document there may be calls that learn the first."""
MAX_ROWS, MAX_TRIES = 256, 64
"""That are followed, and at which a rest is looked for: a file may be made to take for ever."""


class Rows:
    """Finds the targets of calls in a tape."""

    def __init__(self, tape: Tokens) -> None:
        self._places = Places(tape)
        self._tokens = tape.astype(np.int64)
        is_last = self._tokens == self._tokens[0]  # a document's last target starts the next one
        is_last[-1] = True
        lasts = np.flatnonzero(is_last)
        self._document_end = lasts[np.searchsorted(lasts, np.arange(len(tape)))] + 1
        self._broken_off: deque[list[int]] = deque(maxlen=CALLS_KEPT)

    def follow(self, targets: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) the place of each target of a call, or −1; calls come in the order of time."""
        likely = [end for ends in self._broken_off for end in ends]
        place = self._places.of(targets, np.array(likely, dtype=np.int64))
        if (place == UNKNOWN).any():
            for ends in reversed(self._broken_off):
                place = self._filled(place, targets, ends)
        known = np.flatnonzero(place > 0)
        if len(known):
            nexts = place[known] + 1
            goes_on = np.isin(nexts, place[known]) | (nexts >= len(self._tokens))
            self._broken_off.append(nexts[~goes_on][:MAX_ROWS].tolist())
        return place

    def _filled(
        self, place: NDArray[np.int64], targets: NDArray[np.int64], ends: list[int]
    ) -> NDArray[np.int64]:
        """Look for what follows each end, from left to right."""
        place, offset, there = place.copy(), 0, set(place[place > 0].tolist())
        for end in ends:
            rest = self._tokens[end : self._document_end[end]]
            if end in there or not len(rest):
                continue
            size = min(len(rest), GRAM)
            is_free = place == UNKNOWN
            may_begin = is_free[offset:] & (targets[offset:] == rest[0])
            for start in (np.flatnonzero(may_begin)[:MAX_TRIES] + offset).tolist():
                length = _agreeing(targets[start:], rest, is_free[start:])
                if length >= size:
                    offset = start + length
                    place[start:offset] = np.arange(end, end + length)
                    break
        return place


def _agreeing(
    targets: NDArray[np.int64], rest: NDArray[np.int64], is_free: NDArray[np.bool_]
) -> int:
    """How many targets, from the first on, are free and what the text goes on with."""
    size = min(len(targets), len(rest))
    differs = (targets[:size] != rest[:size]) | ~is_free[:size]
    return int(differs.argmax()) if differs.any() else size
