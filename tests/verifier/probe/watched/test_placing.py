"""Rows of a text are found again, and nothing else is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.probe.watched.placing import GRAM, Places, row_length

TAPE = np.random.default_rng(3).permutation(1_500).astype(np.uint16)
PLACES = Places(TAPE)


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(1, 1_400), st.integers(12, 90)), min_size=1, max_size=5))
def test_rows_one_after_another_are_each_found_whole(rows):
    wanted = np.concatenate([np.arange(a, min(a + n, len(TAPE))) for a, n in rows])
    assert (PLACES.of(TAPE[wanted].astype(np.int64)) == wanted).all()


def test_other_text_and_short_rows_are_found_nowhere():
    other = np.random.default_rng(4).permutation(1_500)
    assert (PLACES.of(other) == -1).all()
    assert (PLACES.of(TAPE[5:10].astype(np.int64)) == -1).all()
    assert len(PLACES.of(np.zeros(0, np.int64))) == 0


def test_text_that_occurs_twice_is_told_by_what_stands_around_it():
    twice = TAPE.copy()
    twice[900:920] = twice[100:120]
    row = np.arange(880, 940)
    assert (Places(twice).of(twice[row].astype(np.int64)) == row).all()


def windows(length: int, stride: int, begin: int, end: int) -> np.ndarray:
    """As sliding evaluations put them one after another."""
    return np.concatenate([np.arange(w, w + length) for w in range(begin, end, stride)])


@pytest.mark.parametrize("num_before", range(1, GRAM))
def test_a_run_over_the_border_of_two_rows_is_theirs(num_before):
    """The end of one and the beginning of the other stand together at a third place."""
    rows = windows(50, 25, 100, 300)
    border = rows[50 - num_before : 50 - num_before + GRAM]
    text = TAPE.copy()
    text[900 : 900 + GRAM] = text[border]
    assert (Places(text).of(text[rows].astype(np.int64)) == rows).all()


@pytest.mark.parametrize("begin", [175, 180, 184])
def test_rows_of_one_length_end_where_the_text_might_go_on(begin):
    """What comes after a row is what the next row begins with: text of a table's period."""
    text = TAPE.copy()
    text[begin : begin + 12] = text[begin - 25 : begin - 13]
    rows = windows(50, 25, 100, 300)
    assert (Places(text).of(text[rows].astype(np.int64)) == rows).all()


@pytest.mark.parametrize("length", [GRAM, 12])
def test_a_short_row_between_two_others_is_found(length):
    rows = np.concatenate([np.arange(100, 150), np.arange(900, 900 + length), np.arange(125, 175)])
    assert (PLACES.of(TAPE[rows].astype(np.int64)) == rows).all()


def test_rows_that_are_filled_up_are_of_one_length_too():
    rows = windows(50, 25, 100, 300)
    rows.reshape(-1, 50)[:, 30:] = 0
    assert row_length(np.where(rows > 0, rows, -1)) == 50
    assert row_length(np.arange(100, 400)) == 300
    assert row_length(np.zeros(0, np.int64)) == 0
