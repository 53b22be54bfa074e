"""Where in a text a row of its tokens stands."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from verifier.probe.tapes.variants import Tokens

GRAM = 8
"""So many tokens in a row tell where they stand, if they occur there alone."""
FACTOR = np.uint64(0x9E3779B97F4A7C15)
UNKNOWN = -1
NOWHERE = np.zeros(0, np.int64)


class Places:
    """Finds rows of a tape's targets again."""

    def __init__(self, tape: Tokens) -> None:
        self._tokens = tape.astype(np.int64)
        is_start = self._tokens == self._tokens[0]
        self._firsts = np.flatnonzero(is_start) + 1
        # A document's last target starts the next one.
        self._document = np.cumsum(is_start) - is_start
        hashes = _grams(self._tokens[1:])
        unique, first, counts = np.unique(hashes, return_index=True, return_counts=True)
        places = first + 1
        is_inside = self._document[places] == self._document[places + GRAM - 1]
        is_anchor = (counts == 1) & is_inside
        self._hashes, self._places = unique[is_anchor], places[is_anchor]

    def of(
        self, targets: NDArray[np.int64], begins: NDArray[np.int64] = NOWHERE
    ) -> NDArray[np.int64]:
        """(n,) each target's place in the tape, or −1.

        Runs of eight that the tape has once, within a document and a row, are anchors; what leads
        up to one, or on from one, and agrees with the tape token by token, stands beside it. Where
        two rows meet, and the tape goes on alike by chance, the second begins where a document
        does, or a row is likely to: if most rows are of one length, where that is over.

        Args:
            targets: (n,) rows of tokens, one after another.
            begins: places at which rows are likely to begin, beside those of documents.
        """
        place = self._of(targets, begins, len(targets))
        length = row_length(place)
        return place if length == len(targets) else self._of(targets, begins, length)

    def _of(
        self, targets: NDArray[np.int64], begins: NDArray[np.int64], length: int
    ) -> NDArray[np.int64]:
        """(n,) the same, with all rows of one length."""
        place = np.full(len(targets), UNKNOWN)
        if len(targets) >= GRAM and len(self._hashes):
            hashes = _grams(targets)
            index = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
            found = np.flatnonzero(self._hashes[index] == hashes)
            anchors = self._places[index[found]]
            is_inside = ~_begins_within(anchors, begins) & (found % length <= length - GRAM)
            place[found[is_inside]] = anchors[is_inside]
        onward, is_next = self._extended(place, targets, 1)
        backward = self._extended(place[::-1], targets[::-1], -1)[0][::-1]
        is_disputed = (onward >= 0) & (backward >= 0) & (onward != backward)
        is_likely = np.isin(backward, np.concatenate([self._firsts, begins]))
        is_likely |= np.arange(len(place)) % max(length, 1) == 0
        is_begin = is_disputed & is_likely
        second = is_disputed & (_latest(is_begin) > _latest(~is_disputed))
        place = np.where((onward >= 0) & ~second, onward, backward)
        return _without_filler(place, is_next & (place == onward) & (place != backward))

    def _extended(
        self, place: NDArray[np.int64], targets: NDArray[np.int64], direction: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Go on from each anchor for as long as the tape has the same tokens.

        Returns:
            (n,) the places; and which of them lie in another document than the anchor.
        """
        index = np.arange(len(place))
        anchor = _latest(place >= 0)
        guess = place[anchor] + direction * (index - anchor)
        inside = (anchor >= 0) & (guess >= 1) & (guess < len(self._tokens))
        guess = np.where(inside, guess, 0)
        agrees = inside & (self._tokens[guess] == targets)
        misses = np.cumsum(~agrees)
        unbroken = agrees & (misses == misses[np.maximum(anchor, 0)])
        is_other = unbroken & (self._document[guess] != self._document[place[anchor]])
        return np.where(unbroken, guess, UNKNOWN), is_other


def row_length(place: NDArray[np.int64]) -> int:
    """How long most rows of a call are, by where they begin to stand; of a single one, all."""
    is_first = (place >= 0) & (place != np.append(UNKNOWN, place[:-1]) + 1)
    at = np.flatnonzero(is_first)
    if len(at) < 2:
        return len(place)
    length = int(np.bincount(np.diff(at)).argmax())
    is_whole = length >= GRAM and len(place) % length == 0
    return length if is_whole and 2 * int((at % length == 0).sum()) > len(at) else len(place)


def stands_in(tape: Tokens, texts: Sequence[Tokens]) -> NDArray[np.bool_]:
    """(M + 1,) whether each of a tape's tokens is of a run of eight that one of the texts has."""
    own = _grams(tape.astype(np.int64))
    is_there = np.zeros(len(own), dtype=bool)
    for text in texts:
        is_there |= np.isin(own, _grams(text.astype(np.int64)))
    is_covered = np.zeros(len(tape), dtype=bool)
    for offset in range(GRAM):
        is_covered[offset : offset + len(own)] |= is_there
    return is_covered


def _begins_within(runs: NDArray[np.int64], begins: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(R,) whether a row is likely to begin inside a run of eight, whose first may be another's."""
    later = np.append(np.sort(begins), np.iinfo(np.int64).max)
    return later[np.searchsorted(later, runs, side="right")] - runs < GRAM


def _without_filler(place: NDArray[np.int64], is_next: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Rows go on into the next document up to their end; what breaks off before fills them up."""
    is_end = is_next & ~np.append(is_next[1:], False)
    ends = np.flatnonzero(is_end)
    if not len(ends):
        return place
    breaks_off = np.append(place[1:] == UNKNOWN, False)[ends]
    end = np.minimum(np.searchsorted(ends, np.arange(len(place))), len(ends) - 1)
    return np.where(is_next & breaks_off[end], UNKNOWN, place)


def _latest(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(n,) where the last true flag up to each one stands, or −1."""
    return np.maximum.accumulate(np.where(flags, np.arange(len(flags)), -1))


def _grams(tokens: NDArray[np.int64]) -> NDArray[np.uint64]:
    """(n − 7,) a hash of each run of eight."""
    values = tokens.astype(np.uint64) + np.uint64(1)
    size = max(len(values) - GRAM + 1, 0)
    hashes = np.zeros(size, dtype=np.uint64)
    for offset in range(GRAM):
        hashes = hashes * FACTOR + values[offset : offset + size]
    return hashes
