"""Logs of other code: nothing that is read off the shipped script is an answer then."""

import shutil
from pathlib import Path

import pytest

from verifier import pipeline
from verifier.findings import Outcome
from verifier.rulebook import load_rulebook

CASES = Path(__file__).parents[1] / "rule_cases" / "log_of_another_script"


def reason(case: str) -> str:
    records = pipeline.audit(CASES / case, load_rulebook("10min_16mb")).rules
    return next(record.reason or "" for record in records if record.rule == "train_then_score")


@pytest.mark.parametrize(("case", "is_other_code"), [("flagged", True), ("clean", False)])
def test_conditions_are_answered_for_the_code_that_ran_alone(
    case: str, is_other_code: bool
) -> None:
    assert ("which no shipped code does" in reason(case)) == is_other_code


def test_texts_of_many_holes_are_held_against_a_line_at_once(tmp_path: Path) -> None:
    """A regular expression of so many holes would not come to an end."""
    folder = shutil.copytree(CASES / "flagged", tmp_path / "submission")
    with (folder / "train_gpt.py").open("a") as script:
        script.write(f'\nhole = ""\nprint(f"{"{hole}" * 12}never printed")\n')
    rules = pipeline.audit(folder, load_rulebook("10min_16mb")).rules
    (record,) = (record for record in rules if record.rule == "log_of_another_script")
    assert record.outcome is Outcome.BROKEN
