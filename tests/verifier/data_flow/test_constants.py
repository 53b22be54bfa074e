import ast

import pytest

from verifier.data_flow.constants import convert, fold, text_method, truth
from verifier.data_flow.values import UNKNOWN


@pytest.mark.parametrize(
    "kind, one, other, result",
    [
        (ast.Add(), 2, 3, 5),
        (ast.Gt(), 2, 3, False),
        (ast.In(), "1", ("0", "1"), True),
        (ast.Div(), 1, 0, UNKNOWN),
        (ast.Lt(), "a", 1, UNKNOWN),
        (ast.Mult(), "a", 10**9, UNKNOWN),
        (ast.Add(), "back", "ward", "backward"),
        (ast.Add(), "a" * 900, "b" * 900, UNKNOWN),
        (ast.Add(), "a", 1, UNKNOWN),
        (ast.Mult(), 2**62, 2**62, UNKNOWN),
        (ast.Eq(), UNKNOWN, 1, UNKNOWN),
    ],
)
def test_folding_is_right_or_unknown(kind, one, other, result):
    assert fold(kind, one, other) == result


def test_what_cannot_be_converted_is_unknown():
    assert convert("int", "7") == 7
    assert convert("int", "seven") is UNKNOWN
    assert convert("eval", "7") is UNKNOWN
    assert text_method("lower", "ON") == "on"
    assert text_method("lower", 3) is UNKNOWN


def test_the_truth_of_the_unknown_is_open():
    assert (truth(UNKNOWN), truth(0), truth("x")) == (None, False, True)
