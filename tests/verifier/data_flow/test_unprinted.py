"""Logs of other code: nothing that is read off the shipped script is an answer then."""

from pathlib import Path

import pytest

from verifier import pipeline
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
