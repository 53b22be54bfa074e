"""Documents read side by side, in rows that are filled up: which scores of which tokens count."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from verifier.probe.watched.instrument.sitecustomize import STEP, Record, listening
from verifier.probe.watched.ledger import read_ledger
from verifier.probe.watched.rows import Rows

CHUNK, BOS, SHARED = 16, 0, 3
LENGTHS = (70, 65, 50, 49, 40, 33, 21, 18)
rng = np.random.default_rng(5)
TAPE = np.concatenate(
    [w for n in LENGTHS for w in ([BOS, SHARED], rng.integers(1, 40, n - 2))] + [[BOS]]
).astype(np.uint16)
STARTS = np.flatnonzero(TAPE == BOS)[:-1]


def rows_of(chunk: int, documents: range) -> np.ndarray:
    """(B, L) which token each target is, 0 where a document is over."""
    within = chunk * CHUNK + np.arange(CHUNK)
    there = [d for d in documents if LENGTHS[d] > chunk * CHUNK]
    return np.stack([np.where(within < LENGTHS[d], STARTS[d] + within + 1, 0) for d in there])


def targets_of(rows: np.ndarray) -> np.ndarray:
    """(B * L,) filled up with a word that many documents begin with."""
    return np.where(rows > 0, TAPE[rows], SHARED).ravel().astype(np.int64)


class Script:
    """A table of pairs that scores rows and learns them, heard by the instrument."""

    def __init__(self, path: Path) -> None:
        torch.manual_seed(1)
        self.path, self.record = path, Record(path)
        self.loss = listening(functional.cross_entropy, self.record)
        self.table = torch.randn(40, 40, requires_grad=True)
        self.losses = torch.zeros(len(TAPE))

    def read(self, rows: np.ndarray) -> torch.Tensor:
        before = torch.from_numpy(TAPE[rows - 1].ravel().astype(np.int64))
        return self.loss(self.table[before], torch.from_numpy(targets_of(rows)), reduction="none")

    def learn(self, rows: np.ndarray) -> None:
        self.read(rows).mean().backward()
        with torch.no_grad():
            self.table -= 20.0 * self.table.grad
        self.table.grad = None
        self.record.add(STEP, False, b"", 0.0)

    def score(self, rows: np.ndarray, least: bool = False) -> None:
        new = self.read(rows).detach().view(rows.shape)
        self.losses[rows] = torch.minimum(new, self.losses[rows]) if least else new

    def ledger(self):
        return read_ledger(self.path, TAPE, round(float(self.losses[1:].double().mean()), 8))


@pytest.fixture
def script(tmp_path) -> Script:
    return Script(tmp_path / "record.bin")


def chunks(*parts: range):
    return [rows_of(k, part) for part in parts for k in range(-(-LENGTHS[part[0]] // CHUNK))]


def test_every_row_is_found_but_what_fills_it_up():
    finder = Rows(TAPE)
    for rows in chunks(range(len(LENGTHS))):
        assert (finder.follow(targets_of(rows)) == np.where(rows > 0, rows, -1).ravel()).all()


def found_in(tape: np.ndarray) -> list[bool]:
    """Of the first two documents' chunks, whether each target was found where it stands."""
    finder = Rows(tape)
    calls = chunks(range(2))
    return [
        bool((finder.follow(tape[rows].ravel().astype(np.int64)) == rows.ravel()).all())
        for rows in calls[: LENGTHS[1] // CHUNK]
    ]


def test_a_chunk_that_stands_in_another_document_too_is_found_in_its_row():
    first, second = STARTS[:2] + CHUNK + 1
    tape = TAPE.copy()
    tape[second : second + CHUNK] = tape[first : first + CHUNK]
    assert found_in(tape) == [True] * 4


def test_a_last_word_that_leads_up_to_the_next_row_as_well_is_the_first_rows():
    first, second = STARTS[:2] + CHUNK + 1
    tape = TAPE.copy()
    tape[second - 1] = tape[first + CHUNK - 1]
    assert found_in(tape) == [True] * 4


def test_phases_that_learn_what_was_scored_are_in_order(script):
    for rows in chunks(range(4)):
        script.score(rows)
        script.learn(rows)
    script.learn(np.arange(STARTS[1] + 1, STARTS[3] + 1)[None])  # a pause
    for rows in chunks(range(4, len(LENGTHS))):
        script.score(rows)
        script.learn(rows)
    record = script.ledger().record
    assert record.num_scored == len(TAPE) - 1 and record.num_learned_before == 0


def test_chunks_that_are_learned_and_then_scored_are_counted(script):
    for rows in chunks(range(4), range(4, len(LENGTHS))):
        script.learn(rows)
        script.score(rows)
    record = script.ledger().record
    assert record.num_scored == record.num_learned_before == len(TAPE) - 1


def test_the_better_of_two_scorings_of_a_chunk_is_seen(script):
    for rows in chunks(range(4), range(4, len(LENGTHS))):
        script.score(rows)
        with torch.no_grad():
            script.table += torch.randn(40, 40)
        script.score(rows, least=True)
    assert script.ledger().record.is_best_of_several
