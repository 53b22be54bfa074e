"""Titles that disclaim a record, beside those that only speak of one."""

import json
from pathlib import Path

import pytest

from verifier import pipeline
from verifier.rulebook import load_rulebook

BOOK = load_rulebook("10min_16mb")


def is_disclaimed(folder: Path, title: str, name: str, more: str = "") -> bool:
    (folder / "README.md").write_text(f"# {title}\n\nval_bpb 1.2\n")
    metadata = {"name": name, "val_bpb": 1.2} | json.loads(f"{{{more}}}")
    (folder / "submission.json").write_text(json.dumps(metadata, indent=1))
    rules = pipeline.audit(folder, BOOK).rules
    return bool(next(rule for rule in rules if rule.rule == "disclaimed_record").findings)


@pytest.mark.parametrize(
    ("readme", "metadata", "disclaims"),
    [
        ("It is not claimed as a new SOTA over #1.", {}, True),
        ("", {"record_claim": False}, True),
        ("", {"record_claim": True}, False),
        ("It is claimed as a new record.", {}, False),
    ],
)
def test_words_and_fields_disclaim(
    tmp_path: Path, readme: str, metadata: dict[str, bool], disclaims: bool
) -> None:
    name = json.dumps(metadata)[1:-1]
    assert is_disclaimed(tmp_path, f"Title\n\n{readme}", "layers", name) == disclaims


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
