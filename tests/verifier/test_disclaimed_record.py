"""Titles that disclaim a record, beside those that only speak of one."""

import json
from pathlib import Path

import pytest

from verifier import pipeline
from verifier.rulebook import load_rulebook

BOOK = load_rulebook("10min_16mb")


def is_disclaimed(folder: Path, title: str, name: str) -> bool:
    (folder / "README.md").write_text(f"# {title}\n\nval_bpb 1.2\n")
    (folder / "submission.json").write_text(json.dumps({"name": name, "val_bpb": 1.2}, indent=1))
    rules = pipeline.audit(folder, BOOK).rules
    return bool(next(rule for rule in rules if rule.rule == "disclaimed_record").findings)


@pytest.mark.parametrize(
    ("title", "name", "disclaims"),
    [
        ("Non-record: 11 layers, one seed", "eleven layers", True),
        ("[Non-Record] Hybrid layers", "hybrid", True),
        ("Hybrid layers", "Non-record: hybrid", True),
        ("Hybrid layers", "hybrid", False),
        ("Nonrecurrent layers", "non-recurrent", False),
        ("Better than the best non-record: hybrid layers", "hybrid", False),
    ],
)
def test_a_title_that_begins_with_it_disclaims(
    tmp_path: Path, title: str, name: str, disclaims: bool
) -> None:
    assert is_disclaimed(tmp_path, title, name) == disclaims
