"""The page's example and bent forms of it over real pipes: what is held, what ends a session."""

import numpy as np
import pytest

from verifier.stream.protocol import BrokenStreamError, Expected

GIVEN = [np.array([1, 5], dtype=np.uint16), np.array([1], dtype=np.uint16)]
TARGETS = np.array([[6, 9], [7, 0], [8, 0]], dtype=np.uint16)
LENGTHS = np.array([3, 1])
WRITE = "answers.write(np.array([1, number, *rows.shape]"
CHEATS = {
    "its probabilities add up to more than one": (
        "rows = table",
        "rows = 0.01 + table",
        "adds up to 1.01",
    ),
    "a word has no number": ("rows = table", "rows = np.nan + table", "not finite"),
    "a word is impossible": (
        "rows = table[",
        "rows = np.log(np.eye(64, dtype='<f4'))[",
        "not finite",
    ),
    "it answers for fewer words": (
        "last.values())]",
        "last.values())][:, :63]",
        "a vocabulary of 63",
    ),
    "it answers for another lane too": (WRITE, WRITE.replace("*rows.shape", "3, 64"), "3 rows"),
    "it answers out of turn": (WRITE, WRITE.replace("number,", "number + 1,"), "number 1"),
    "it withholds its answer": (
        "answers.flush()",
        "number or answers.flush()",
        "did not answer in time",
    ),
    "it is late": (
        "answers.flush()",
        "__import__('time').sleep(9 * number); answers.flush()",
        "in time",
    ),
    "it dies": ("number += 1", "sys.exit('out of memory')", "did not answer"),
    "it waits to see the next token": (
        WRITE,
        f"number and questions.read(1); {WRITE}",
        "did not answer in time",
    ),
}


def test_an_answer_too_large_to_hold_is_refused_by_its_header():
    header = np.array([1, 0, 4_096, 65_536], "<u4").tobytes()
    expected = Expected(number=0, num_rows=4_096, smallest_vocabulary=2, vocabulary=None)
    with pytest.raises(BrokenStreamError, match="offer fewer lanes"):
        expected.vocabulary_of(header)


def talk(predictor):
    """A round of two lanes; the distributions that came in, as probabilities."""
    held = []

    def reveal(step, lanes, log_probabilities):
        held.append(np.exp(log_probabilities))
        return TARGETS[step, lanes]

    predictor.run_round(GIVEN, LENGTHS, reveal)
    return held


def test_each_lane_is_answered_until_its_end(hold):
    held = hold(talk)
    assert [len(rows) for rows in held] == [2, 1, 1]
    assert all(np.allclose(rows.sum(axis=1), 1, atol=1e-12) for rows in held)
    assert held[0][0].argmax() == 6 and held[1][0].argmax() == 7


def test_a_second_round_forgets_the_first(hold):
    first, second = hold(lambda predictor: (talk(predictor), talk(predictor)))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_ends_the_session_with_its_reason(hold, name):
    old, new, reason = CHEATS[name]
    with pytest.raises(BrokenStreamError, match=reason):
        hold(talk, old, new, answer_seconds=2 if "in time" in reason else 60)
