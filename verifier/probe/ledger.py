"""What the instrument noted, as a ledger: which token was scored when, and learned when.

A script may go over its validation data several times and print one score. The pass that counts is
the one whose mean is what was printed: it starts at some scoring of the first target, or with the
first note of all where documents are scored in another order, and from there on each token's first
loss is its score; in later windows of a sliding evaluation, or when it is learned, the token is
noted again.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from verifier.probe.placing import Places
from verifier.probe.variants import Tokens
from verifier.schemas.probe_record_json import LedgerRecord

HEADER = struct.Struct("=BBxxId")
"""As verifier/probe/instrument/sitecustomize.py writes it."""
LOSS, STEP = 1, 2
MAX_FILE_BYTES = 96_000_000
SAME_NATS = 6e-5
"""By how much the mean of noted losses may miss a printed one: half its fourth digit, and sums."""
MAX_LOG_SUM = 1e6
"""Stands for infinity in files, which hold finite numbers."""
NO_PLACES, NO_LOSSES, NO_FLAGS = np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.bool_)
MAX_STARTS = 64
"""Scorings of the first target at which the pass that counts may begin."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Event:
    """One header of the file and what follows it."""

    kind: int
    takes_gradient: bool
    targets: NDArray[np.int64]  # (n,)
    losses: NDArray[np.float32]  # (n,)
    log_sum: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Noted:
    """Every noted loss of a validation target, in the order of time."""

    position: NDArray[np.int64]  # (E,) which token of the tape
    loss: NDArray[np.float64]  # (E,) nats
    step: NDArray[np.int64]  # (E,) optimizer steps made before it
    is_learned: NDArray[np.bool_]  # (E,) whether a gradient could be taken of it
    log_sum: float
    """The largest of all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """What was made of the notes."""

    record: LedgerRecord
    losses: NDArray[np.float32] | None
    """(M,) of the pass that counts, for targets 1 to M; None where there is none."""


def read_ledger(path: Path, tape: Tokens, printed_nats: float | None) -> Ledger:
    """Read the instrument's file against the text that was scored and the score that was printed.

    The file comes out of the submission's own folder: anything may stand in it.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        return _unread("more losses were noted than are read; make the run smaller", printed_nats)
    try:
        noted = _noted(path.read_bytes(), tape)
    except (struct.error, ValueError):
        return _unread("the instrument's file was tampered with", printed_nats)
    if printed_nats is None:
        return _unread("it printed no validation loss", None)
    starts = np.flatnonzero(noted.position == 1)
    if not len(starts):
        return _unread("no loss of the validation text was seen by PyTorch", printed_nats)
    some = (np.zeros(1, np.int64), starts[: MAX_STARTS // 2], starts[-MAX_STARTS // 2 :])
    starts = np.unique(np.concatenate(some))
    record = LedgerRecord(
        printed_nats=printed_nats, num_noted=len(noted.position), largest_log_sum=noted.log_sum
    )
    for start in starts.tolist():
        positions, first = np.unique(noted.position[start:], return_index=True)
        scored = start + first
        if abs(float(noted.loss[scored].mean()) - printed_nats) <= SAME_NATS:
            return _counted(record, noted, (positions, scored), len(tape) - 1)
    if _is_best_of_several(noted, printed_nats):
        return Ledger(record=record.model_copy(update={"is_best_of_several": True}), losses=None)
    return _unread("the printed score is the mean of no pass of noted losses", printed_nats)


def _is_best_of_several(noted: Noted, printed_nats: float) -> bool:
    """Whether tokens were noted more than once, most of them, and their least losses printed."""
    counts = np.bincount(noted.position)
    best = np.full(len(counts), np.inf)
    np.minimum.at(best, noted.position, noted.loss)
    is_noted, is_again = counts > 0, counts > 1
    is_same = abs(float(best[is_noted].mean()) - printed_nats) <= SAME_NATS
    return is_same and 2 * int(is_again.sum()) > int(is_noted.sum())


def _unread(why: str, printed_nats: float | None) -> Ledger:
    return Ledger(record=LedgerRecord(not_evaluated=why, printed_nats=printed_nats), losses=None)


def _counted(
    record: LedgerRecord,
    noted: Noted,
    chosen: tuple[NDArray[np.int64], NDArray[np.int64]],
    num_targets: int,
) -> Ledger:
    """The record of the pass that counts: what of it was learned before it was scored."""
    positions, scored = chosen
    learned_at = np.full(num_targets + 1, np.iinfo(np.int64).max)
    learned = np.flatnonzero(noted.is_learned)
    np.minimum.at(learned_at, noted.position[learned], noted.step[learned])
    is_late = noted.step[scored] > learned_at[positions]
    is_whole = bool((positions == np.arange(1, len(positions) + 1)).all())
    update = {
        "num_scored": len(positions),
        "num_learned_before": int(is_late.sum()),
        "first_learned_before": int(positions[is_late][0]) if is_late.any() else None,
        "num_steps": int(noted.step[scored].max()),
    }
    losses = noted.loss[scored].astype(np.float32) if is_whole else None
    return Ledger(record=record.model_copy(update=update), losses=losses)


def _noted(content: bytes, tape: Tokens) -> Noted:
    """Every event that is a loss of the tape's targets."""
    places, num_steps, log_sum = Places(tape), 0, 0.0
    position, loss, step, is_learned = [NO_PLACES], [NO_LOSSES], [NO_PLACES], [NO_FLAGS]
    for event in _events(content):
        num_steps += event.kind == STEP
        where = places.of(event.targets)
        found = where > 0
        if found.any():
            position.append(where[found])
            loss.append(event.losses[found].astype(np.float64))
            step.append(np.full(int(found.sum()), num_steps))
            is_learned.append(np.full(int(found.sum()), event.takes_gradient))
            log_sum = max(log_sum, event.log_sum)
    return Noted(
        position=np.concatenate(position),
        loss=np.concatenate(loss),
        step=np.concatenate(step),
        is_learned=np.concatenate(is_learned),
        log_sum=min(log_sum, MAX_LOG_SUM),
    )


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
