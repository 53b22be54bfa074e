"""Rows of a text are found again, and nothing else is."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.probe.watched.placing import Places

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
