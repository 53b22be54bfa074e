"""Training behind the timed loop, where a reserve was left and calibration used it up."""

import shutil
from pathlib import Path

import pytest

from verifier import pipeline
from verifier.rulebook import load_rulebook

CASES = Path(__file__).parent / "rule_cases" / "late_training"
LOOP = "stopping_early: wallclock_cap train_time:585000ms step:9/20000\n"
CALIBRATED = "gptq:hessians collected layers=68 time={seconds}s\n"


def findings(folder: Path, log: str) -> list[str]:
    submission = shutil.copytree(CASES / "flagged", folder / "submission")
    (submission / "train.log").write_text(f"{log}final val_bpb:1.2000\n")
    rules = pipeline.check(submission, load_rulebook(), "leaderboard-apr29", None).rules
    record = next(record for record in rules if record.rule == "late_training")
    return [finding.message for finding in record.findings]


@pytest.mark.parametrize(
    "seconds, is_late", [(37.2, True), (25.1, True), (24.9, False), (3.5, False)]
)
def test_a_reserve_that_calibration_alone_overdraws_has_no_room_for_training(
    tmp_path, seconds, is_late
):
    told = findings(tmp_path, LOOP + CALIBRATED.format(seconds=seconds))
    assert [f"{seconds} s of calibration" in message for message in told] == [True] * is_late


def test_calibration_within_the_loop_is_on_its_clock(tmp_path):
    assert findings(tmp_path, CALIBRATED.format(seconds=37.2) + LOOP) == []
