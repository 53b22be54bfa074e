"""Text is changed and changed back without loss, and what says so falsely is not believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.probe.fresh.transforms import OPERATORS, CaseOperators, Untouched, why_unproven

TEXTS = ["The NASA iPhone of McDonald", "a É b", "WAIT, no", "Zürich I and A"]


class LowerCase(Untouched):
    name = "small letters"

    def apply(self, texts):
        return [text.lower() for text in texts]


@given(st.text(st.sampled_from("aAbBzZ éÉ1\n" + OPERATORS)))
def test_case_operators_give_every_text_back(text):
    [coded] = CaseOperators().apply([text])
    assert not any("A" <= letter <= "Z" for letter in coded)
    assert CaseOperators().restore([coded]) == [text]


@given(st.text(st.sampled_from("aA " + OPERATORS)), st.integers(0, 9))
def test_text_cut_anywhere_is_undone_without_inventing_any(text, end):
    [coded] = CaseOperators().apply([text])
    [restored] = CaseOperators().restore([coded[:end]])
    assert text.startswith(restored)


def test_the_example_is_as_published():
    assert CaseOperators().apply(TEXTS[:1]) == [
        "\ue001the \ue002nasa i\ue003phone of \ue001mc\ue003donald"
    ]


@pytest.mark.parametrize("transform", [CaseOperators(), Untouched()])
def test_what_goes_both_ways_is_proven(transform):
    assert why_unproven(transform, TEXTS, transform.apply(TEXTS)) is None


def test_a_loss_is_told_from_raw_text_and_a_strange_transform_from_the_tokens_text():
    assert "give back 4 of 4" in why_unproven(LowerCase(), TEXTS, [])
    assert "makes 0 of 4" in why_unproven(CaseOperators(), [], [t + "X" for t in TEXTS])
