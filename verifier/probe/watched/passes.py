"""Which of several notes of each token make a pass, where the pass may have begun.

Calls that ask for the same targets one after another are a *turn*: who learns a chunk and scores it
next, or scores it twice, does so in one turn. What learns elsewhere, such as a pause, is another.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verifier.probe.tapes.variants import Tokens

MAX_STARTS = 64
"""Notes at which the pass that counts may begin."""
Places = NDArray[np.int64]
Losses = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Noted:
    """Every noted loss of a validation target, in the order of time."""

    position: Places  # (E,) which token of the tape
    loss: Losses  # (E,) nats
    step: Places  # (E,) optimizer steps made before it
    is_learned: NDArray[np.bool_]  # (E,) whether a gradient could be taken of it
    turn: Places  # (E,) which turn its call belongs to
    at: Places  # (E,) how many targets of any text were noted before it
    begins: Places  # notes with which a call begins that is of the tape, behind one that is not
    log_sum: float
    """The largest of all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Turns:
    """The first turn of each of P tokens, in the order of the tape."""

    first: Places  # (P,) its first note
    last: Places  # (P,) its last
    least: Losses  # (P,) the least of its losses


class Readings:
    """All notes of a token side by side."""

    def __init__(self, noted: Noted) -> None:
        self._time = np.argsort(noted.position, kind="stable")
        self._loss = np.append(noted.loss[self._time], np.inf)
        self._is_again = np.diff(noted.position[self._time], prepend=-1) == 0
        is_same_turn = np.diff(noted.turn[self._time], prepend=-1) == 0
        self._ends = np.flatnonzero(~np.append((self._is_again & is_same_turn)[1:], False))

    def since(self, start: int) -> Turns:
        """Of each token that was noted from a note on, its first turn since then."""
        is_since = self._time >= start
        was_since = np.append(False, is_since[:-1]) & self._is_again
        return self._turns(np.flatnonzero(is_since & ~was_since), self._ends)

    def as_one_turn(self) -> Turns:
        """Of each token all notes together."""
        is_end = ~np.append(self._is_again[1:], False)
        return self._turns(np.flatnonzero(~self._is_again), np.flatnonzero(is_end))

    def _turns(self, first: Places, ends: Places) -> Turns:
        last = ends[np.searchsorted(ends, first)]
        bounds = np.stack([first, last + 1], axis=1).ravel()
        least = np.minimum.reduceat(self._loss, bounds)[::2]
        return Turns(first=self._time[first], last=self._time[last], least=least)


def possible_starts(noted: Noted) -> list[int]:
    """The first note, and wherever the tape begins to be read, or what was read first then."""
    anchors = np.append(noted.position[noted.begins], 1)
    again = np.flatnonzero(np.isin(noted.position, np.unique(anchors)))
    starts = np.unique(np.concatenate([np.zeros(1, np.int64), noted.begins, again]))
    half = MAX_STARTS // 2
    kept: list[int] = np.unique(np.concatenate([starts[:half], starts[-half:]])).tolist()
    return kept


def latest_starts(noted: Noted) -> list[int]:
    """The first notes of the last turn since which every target was noted, and of those before it.

    A pass in an order of its own begins anywhere in the text, perhaps right behind another pass.
    Where its windows hold what was scored before as context, every target is noted once more
    after the first of them; so it may have begun some windows earlier.
    """
    latest = np.zeros(int(noted.position.max()) + 1, dtype=np.int64)
    latest[noted.position] = np.arange(len(noted.position))
    first_to_go = latest[np.unique(noted.position)].min()
    turns = np.unique(noted.turn[: first_to_go + 1])[-MAX_STARTS:]
    starts: list[int] = np.searchsorted(noted.turn, turns).tolist()
    return starts


def last_readings(noted: Noted, tape: Tokens) -> Places:
    """The first note of each target since its document was begun for the last time.

    Who goes over a document several times, and counts the last time, leaves no pass of the whole
    text: documents beside it may be read as often before or after it.
    """
    is_start = tape == tape[0]
    document = np.cumsum(is_start) - is_start  # the last target of one starts the next one
    own = document[noted.position]
    by_document = np.argsort(own, kind="stable")
    own = own[by_document]
    num_begun = np.cumsum(is_start[noted.position[by_document] - 1])
    last = np.zeros(int(document.max()) + 1, dtype=np.int64)
    np.maximum.at(last, own, num_begun)
    kept = by_document[num_begun == last[own]]
    _, first = np.unique(noted.position[kept], return_index=True)
    return np.asarray(kept[first])
