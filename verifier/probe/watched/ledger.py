"""What the instrument noted, as a ledger: which token was scored when, and learned when.

A script may go over its validation data several times and print one score. The pass that counts is
the one whose mean is what was printed: it starts at some scoring of the first target, or with the
first note of all where documents are scored in another order, and from there on each token's first
loss is its score; in later windows of a sliding evaluation, or when it is learned, the token is
noted again.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.probe.tapes.variants import Tokens
from verifier.probe.watched.passes import (
    Noted,
    Places,
    Readings,
    last_readings,
    latest_starts,
    possible_starts,
)
from verifier.probe.watched.placing import stands_in
from verifier.probe.watched.rows import Rows
from verifier.probe.watched.windows import counted_again
from verifier.schemas.probe_record_json import LedgerRecord

HEADER = struct.Struct("=BBxxId")
"""As `instrument/sitecustomize.py` writes it."""
LOSS, STEP = 1, 2
MAX_FILE_BYTES = 96_000_000
SAME_NATS = 6e-5
"""By how much the mean of noted losses may miss a printed one: half its fourth digit, and sums."""
MAX_LOG_SUM = 1e6
"""Stands for infinity in files, which hold finite numbers."""
NO_PLACES = np.zeros(0, np.int64)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Event:
    """One header of the file and what follows it."""

    kind: int
    takes_gradient: bool
    targets: NDArray[np.int64]  # (n,)
    losses: NDArray[np.float32]  # (n,)
    log_sum: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Call:
    """A loss, and where it belongs."""

    event: _Event
    place: NDArray[np.int64]  # (n,) each target's place in the tape, or −1
    num_steps: int
    """Optimizer steps made before it."""
    turn: int
    begin: int
    """How many targets calls before it had."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """What was made of the notes."""

    record: LedgerRecord
    losses: NDArray[np.float32] | None
    """(M,) of the pass that counts, for targets 1 to M; None where there is none."""
    noted_at: NDArray[np.int64] | None = None
    """(M,) the how-manieth noted loss of the process each of them is."""


def read_ledger(
    path: Path, tape: Tokens, printed_nats: float | None, training: Sequence[Tokens] = ()
) -> Ledger:
    """Read the instrument's file against the text that was scored and the score that was printed.

    The file comes out of the submission's own folder: anything may stand in it.

    Args:
        path: what the instrument wrote.
        tape: the text that was scored.
        printed_nats: the mean loss that the script printed, if it did.
        training: what it was given to learn; runs that both share may be learned at any time.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        return _unread("more losses were noted than are read; make the run smaller", printed_nats)
    try:
        noted = _noted(path.read_bytes(), tape)
    except (struct.error, ValueError):
        return _unread("the instrument's file was tampered with", printed_nats)
    if printed_nats is None:
        return _unread("it printed no validation loss", None)
    if not len(noted.position):
        return _unread("no loss of the validation text was seen by PyTorch", printed_nats)
    record = LedgerRecord(
        printed_nats=printed_nats, num_noted=len(noted.position), largest_log_sum=noted.log_sum
    )
    scored = _pass_that_counts(noted, tape, printed_nats)
    if scored is not None:
        return _counted(record, noted, scored, stands_in(tape, training))
    if _is_best_of_several(noted, printed_nats):
        return Ledger(record=record.model_copy(update={"is_best_of_several": True}), losses=None)
    why = "the printed score is the mean of no pass of noted losses"
    return Ledger(record=record.model_copy(update={"not_evaluated": why}), losses=None)


def _pass_that_counts(noted: Noted, tape: Tokens, printed_nats: float) -> Places | None:
    """The notes whose mean was printed.

    Each token's first of a pass, whose windows may have counted the end of the text more than once
    (`windows`), and which begins where the text does, or else in another order; or else the last
    of its turn; or else those of its document's last reading. Passes of one evaluation differ
    little: of those that might be meant it is the nearest.
    """
    readings = Readings(noted)
    passes = [readings.since(start) for start in possible_starts(noted)]

    def possible() -> Iterator[list[tuple[Places, Places]]]:
        yield [way for turns in passes for way in _countings(noted, turns.first)]
        latest = (readings.since(start).first for start in latest_starts(noted))
        yield [way for first in latest for way in _countings(noted, first)]
        yield [(turns.last, turns.last) for turns in passes]
        yield [(last_readings(noted, tape),) * 2]

    for ways in possible():
        distances = [_distance(noted.loss[counted], printed_nats) for counted, _ in ways]
        if min(distances) <= SAME_NATS:
            return ways[int(np.argmin(distances))][1]
    return None


def _countings(noted: Noted, first: Places) -> list[tuple[Places, Places]]:
    """What may have been counted of a pass, and the pass."""
    return [(first, first), (np.append(first, counted_again(noted, first)), first)]


def _is_best_of_several(noted: Noted, printed_nats: float) -> bool:
    """Whether most tokens were noted more than once, and the least losses were printed.

    The least of all notes where whole passes are compared, of a turn where it is chunks.
    """
    readings = Readings(noted)
    possible = [readings.since(start) for start in possible_starts(noted)]
    possible.append(readings.as_one_turn())
    return any(
        2 * int((turns.last > turns.first).sum()) > len(turns.first)
        and _distance(turns.least, printed_nats) <= SAME_NATS
        for turns in possible
    )


def _distance(losses: NDArray[np.float64], printed_nats: float) -> float:
    return abs(float(losses.mean()) - printed_nats)


def _unread(why: str, printed_nats: float | None) -> Ledger:
    return Ledger(record=LedgerRecord(not_evaluated=why, printed_nats=printed_nats), losses=None)


def _counted(
    record: LedgerRecord, noted: Noted, scored: Places, is_given: NDArray[np.bool_]
) -> Ledger:
    """The record of the pass that counts: what of it was learned before it was scored.

    Args:
        record: of all notes.
        noted: all notes.
        scored: (P,) those of the pass.
        is_given: (M + 1,) which tokens of the tape the training data have, too.
    """
    positions = noted.position[scored]
    learned_at = np.full(len(is_given), np.iinfo(np.int64).max)
    learned = np.flatnonzero(noted.is_learned)
    np.minimum.at(learned_at, noted.position[learned], noted.step[learned])
    is_late = (noted.step[scored] > learned_at[positions]) & ~is_given[positions]
    is_whole = bool((positions == np.arange(1, len(positions) + 1)).all())
    update = {
        "num_scored": len(positions),
        "num_learned_before": int(is_late.sum()),
        "first_learned_before": int(positions[is_late][0]) if is_late.any() else None,
        "num_steps": int(noted.step[scored].max()),
    }
    return Ledger(
        record=record.model_copy(update=update),
        losses=noted.loss[scored].astype(np.float32) if is_whole else None,
        noted_at=noted.at[scored] if is_whole else None,
    )


def _noted(content: bytes, tape: Tokens) -> Noted:
    """Every event that is a loss of the tape's targets."""
    columns: list[tuple[NDArray[np.generic], ...]] = []
    begins: list[int] = []
    num_notes, log_sum, was_tape = 0, 0.0, False
    for call in _calls(content, tape):
        found = call.place > 0
        count = int(found.sum())
        is_tape = 2 * count >= len(found) > 0
        if is_tape and not was_tape:
            begins.append(num_notes)
        was_tape = is_tape
        if count:
            own = (call.num_steps, call.event.takes_gradient, call.turn)
            constant = (np.full(count, value) for value in own)
            losses = call.event.losses[found].astype(np.float64)
            at = call.begin + np.flatnonzero(found)
            columns.append((call.place[found], losses, *constant, at))
            log_sum = max(log_sum, call.event.log_sum)
            num_notes += count
    position, loss, step, is_learned, turn, at = _joined(columns)
    return Noted(
        position=position,
        loss=loss,
        step=step,
        is_learned=is_learned,
        turn=turn,
        at=at,
        begins=np.array(begins, dtype=np.int64),
        log_sum=min(log_sum, MAX_LOG_SUM),
    )


def _calls(content: bytes, tape: Tokens) -> Iterator[_Call]:
    """Every loss of the file, with the places of its targets."""
    rows = Rows(tape)
    before, place, num_steps, turn, begin = NO_PLACES, NO_PLACES, 0, 0, 0
    for event in _events(content):
        if event.kind == STEP:
            num_steps += 1
            continue
        if not np.array_equal(event.targets, before):
            before, turn = event.targets, turn + 1
            place = rows.follow(event.targets)
        yield _Call(event=event, place=place, num_steps=num_steps, turn=turn, begin=begin)
        begin += len(event.targets)


def _joined(columns: list[tuple[NDArray[np.generic], ...]]) -> Iterator[Any]:
    """Column by column, also where there are none."""
    kinds = (np.int64, np.float64, np.int64, bool, np.int64, np.int64)
    empty = tuple(np.zeros(0, kind) for kind in kinds)
    return (np.concatenate(parts) for parts in zip(empty, *columns, strict=True))


def _events(content: bytes) -> Iterator[_Event]:
    at = 0
    while at < len(content):
        kind, takes_gradient, count, log_sum = HEADER.unpack_from(content, at)
        at += HEADER.size
        if kind not in (LOSS, STEP) or at + 8 * count > len(content):
            raise ValueError("no event begins here")
        targets = np.frombuffer(content, dtype="<i4", count=count, offset=at)
        losses = np.frombuffer(content, dtype="<f4", count=count, offset=at + 4 * count)
        at += 8 * count
        yield _Event(
            kind=kind,
            takes_gradient=bool(takes_gradient),
            targets=targets.astype(np.int64),
            losses=losses,
            log_sum=log_sum,
        )
