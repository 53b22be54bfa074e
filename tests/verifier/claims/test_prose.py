import re
from pathlib import Path

import pytest

from verifier.claims.prose import MAX_STATEMENTS, statements
from verifier.intake.submission import load_submission

RAN_TWICE = re.compile(r"ran twice")


def said(folder: Path, readme: str) -> list[tuple[int, str]]:
    (folder / "README.md").write_text(readme)
    found = statements(load_submission(folder), RAN_TWICE)
    return [(statement.line, statement.text) for statement in found]


def test_a_statement_has_its_line_and_its_sentence_alone(tmp_path: Path) -> None:
    readme = "# Title\n\nThe model is small. It ran twice! No other change.\n"
    assert said(tmp_path, readme) == [(3, "It ran twice!")]


@pytest.mark.parametrize(
    "line", ["It never ran twice.", "> It ran twice.", "Nothing ran twice or wasn't shown."]
)
def test_denials_and_quotations_are_no_statements(tmp_path: Path, line: str) -> None:
    assert said(tmp_path, line) == []


def test_submission_json_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "submission.json").write_text('{\n "blurb": "it ran twice"\n}')
    (statement,) = statements(load_submission(tmp_path), RAN_TWICE)
    assert (statement.file, statement.line) == ("submission.json", 2)


def test_repetition_is_bounded(tmp_path: Path) -> None:
    assert len(said(tmp_path, "It ran twice.\n" * 50)) == MAX_STATEMENTS
