import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.case_operators import (
    ALLCAPS,
    CAPNEXT,
    ESCAPE,
    OPERATORS,
    TITLE,
    original_bytes,
    with_operators,
    without_operators,
)
from trainer.errors import DataError

LETTERS_AND_OPERATORS = st.text(alphabet="aBzZ éßAİ_9" + OPERATORS)


@given(st.text() | LETTERS_AND_OPERATORS)
def test_every_text_comes_back(text):
    folded = with_operators(text)
    assert without_operators(folded) == text
    assert not any("A" <= character <= "Z" for character in folded)


@given(st.text() | LETTERS_AND_OPERATORS)
def test_texts_that_differ_stay_different(text):
    assert (with_operators(text) == with_operators(text.lower())) == (text == text.lower())


@given(st.text() | LETTERS_AND_OPERATORS, st.lists(st.integers(0, 40)))
def test_parts_stand_for_all_bytes_of_the_text_wherever_it_is_cut(text, cuts):
    folded = with_operators(text)
    ends = sorted({min(cut, len(folded)) for cut in cuts} | {0, len(folded)})
    parts = [folded[start:end] for start, end in zip(ends, ends[1:], strict=False)]
    assert sum(original_bytes(parts)) == len(text.encode())


def test_words_are_folded_as_published():
    assert with_operators("The NASA iPhone, I") == (
        f"{TITLE}the {ALLCAPS}nasa i{CAPNEXT}phone, {TITLE}i"
    )
    assert with_operators("ABc") == f"{TITLE}a{CAPNEXT}bc"
    assert with_operators(f"{TITLE}A") == f"{ESCAPE}{TITLE}{TITLE}a"


@pytest.mark.parametrize("text", [TITLE, f"x{ALLCAPS} y", f"{CAPNEXT}9", f"{ESCAPE}a", ESCAPE])
def test_an_operator_with_nothing_to_work_on_is_refused(text):
    with pytest.raises(DataError, match="has nothing to work on"):
        without_operators(text)


def test_operators_stand_for_no_bytes_and_escaped_ones_for_their_own():
    assert original_bytes([TITLE, "the", " " + ALLCAPS, "é", ESCAPE, TITLE + "a"]) == [
        *[0, 3, 1, 2],
        *[0, 4],
    ]
