"""Claims of runs whose logs end before the score, beside those that are there in other words."""

import json
from pathlib import Path

import pytest

from verifier import pipeline
from verifier.rulebook import load_rulebook

BOOK = load_rulebook("10min_16mb")
TRAINED = "step:500/20000 val_loss:2.3730 val_bpb:1.4054 train_time:57275ms step_avg:114.55ms\n"
NO_SCORE = "ends without a score"


def is_told(folder: Path, log: str, claimed: float) -> bool:
    (folder / "train_seed1.log").write_text(log)
    (folder / "submission.json").write_text(json.dumps({"val_bpb": claimed}))
    rules = pipeline.audit(folder, BOOK).rules
    record = next(rule for rule in rules if rule.rule == "missing_file")
    return any(NO_SCORE in finding.message for finding in record.findings)


@pytest.mark.parametrize(
    ("end", "claimed", "told"),
    [
        ("eval_strategy:combined\n", 1.4245, True),
        ("eval_strategy:combined\n", 1.4054, False),  # a validation during training
        ("scored 1.4245 bits a byte\n", 1.4245, False),
        ("sliding val_bpb:1.4245 eval_time:100ms\n", 1.4245, False),
        ("sliding val_bpb:1.3000 eval_time:100ms\n", 1.4245, False),  # another rule's affair
        ("version 1.4245.1\n", 1.4245, True),
    ],
)
def test_a_claim_that_stands_in_no_log_lacks_its_log(
    tmp_path: Path, end: str, claimed: float, told: bool
) -> None:
    assert is_told(tmp_path, TRAINED + end, claimed) == told
