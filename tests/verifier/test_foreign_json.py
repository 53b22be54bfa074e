import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.schemas.foreign_json import MAX_JSON_CHARACTERS, MAX_JSON_DEPTH, read_json

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_honest_json_reads_as_itself(value: object) -> None:
    reading = read_json(json.dumps(value))
    assert reading.value == value
    assert reading.problems == ()


@given(st.text())
def test_any_text_is_read_or_reported(text: str) -> None:
    reading = read_json(text)
    assert reading.value is not None or text.strip() == "null" or reading.problems


def test_broken_json_is_reported_with_its_place() -> None:
    (problem,) = read_json('{"val_bpb": 1.2,\n "seeds": [1 2]}').problems
    assert "line 2, column 14" in problem


def test_repeated_keys_and_infinite_figures_are_noted() -> None:
    reading = read_json('{"a": NaN, "b": 1e999, "a": 1, "c": ' + "9" * 5000 + "}")
    assert reading.value == {"a": 1, "b": None, "c": None}
    assert any("repeats the key 'a'" in problem for problem in reading.problems)
    assert any("NaN" in problem for problem in reading.problems)


@pytest.mark.parametrize(
    "text", ["[" * (MAX_JSON_DEPTH + 1), '{"a":' * 100_000, '"' + r"\"" * 400_000, "[1" * 400_000]
)
def test_deep_or_endless_json_is_refused(text: str) -> None:
    assert read_json(text).value is None


def test_brackets_in_strings_are_no_nesting() -> None:
    assert read_json('["' + "[" * 1000 + r"\"[" + '"]').problems == ()


def test_huge_json_is_not_parsed() -> None:
    assert "not parsed" in read_json(" " * (MAX_JSON_CHARACTERS + 1)).problems[0]
