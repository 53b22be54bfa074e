"""What looks like a breach and is none passes on paper, and a breach in disguise does not."""

from pathlib import Path

import lookalikes
import pytest

from verifier import pipeline
from verifier.findings import Outcome
from verifier.rulebook import load_rulebook

PLAIN = Path(__file__).with_name("plain_gpt.py").read_text()
TRACK = load_rulebook("10min_16mb")
BROKEN = {
    "hashed_counts_in_log_space": "unnormalized_mixture",
    "shift_fitted_by_closure": "window_fitted_delta",
    "lines_that_are_packed": "train_then_score",
    "text_named_by_numbers": "train_then_score",
    "reader_that_reads_another_file": "train_then_score",
}


def answers(folder: Path, replacements: dict[str, str]) -> dict[str, Outcome]:
    """What the rules of conduct say of the script: those of figures and files are left out."""
    script = PLAIN
    for old, new in replacements.items():
        assert old in script
        script = script.replace(old, new, 1)
    compile(script, "train_gpt.py", "exec")
    (folder / "train_gpt.py").write_text(script)
    (folder / "README.md").write_text("# GPT\n\n```\nSEED=42 python train_gpt.py\n```\n")
    records = pipeline.audit(folder, TRACK).rules
    of_conduct = [r for r in records if r.condition not in ("evidence", "size")]
    return {record.rule: record.outcome for record in of_conduct}


def broken(outcomes: dict[str, Outcome]) -> set[str]:
    return {rule for rule, outcome in outcomes.items() if outcome is Outcome.BROKEN}


@pytest.mark.parametrize("name", lookalikes.HONEST)
def test_what_looks_like_a_breach_and_is_none_passes(name, tmp_path):
    outcomes = answers(tmp_path, lookalikes.HONEST[name])
    assert not broken(outcomes)
    assert outcomes["train_then_score"] is Outcome.PASSED, "it was followed to its score"


@pytest.mark.parametrize("name", lookalikes.BREACHES)
def test_a_breach_is_found_in_any_clothes(name, tmp_path):
    assert broken(answers(tmp_path, lookalikes.BREACHES[name])) == {BROKEN[name]}


def test_learning_from_a_file_that_may_be_of_either_text_gets_no_pass(tmp_path):
    outcomes = answers(tmp_path, lookalikes.UNTOLD)
    assert not broken(outcomes)
    for rule in ("train_then_score", "validation_shards_in_training"):
        assert outcomes[rule] is Outcome.NOT_EVALUATED
