"""When calibration on training data is within the training budget."""

import shutil
from pathlib import Path

import pytest

from verifier import pipeline
from verifier.rulebook import load_rulebook

CASES = Path(__file__).parent / "rule_cases" / "late_calibration"


@pytest.mark.parametrize(
    "reserved_seconds, loop_ms, outcome",
    [
        (0, 599_900, "broken"),
        (2, 599_900, "passed"),
        (18, 600_100, "broken"),
        (0, 590_000, "passed"),
    ],
)
def test_a_reserve_counts_where_the_loop_left_it(tmp_path, reserved_seconds, loop_ms, outcome):
    folder = shutil.copytree(CASES / "clean", tmp_path / "submission")
    script = folder / "train_gpt.py"
    reserve = f"RESERVE_SECONDS = {reserved_seconds}\n"
    script.write_text(script.read_text().replace("VAL_FILES =", f"{reserve}VAL_FILES =", 1))
    (folder / "train.log").write_text(
        f"stopping_early: wallclock_cap train_time:{loop_ms}ms step:9/20000\nfinal val_bpb:1.2000\n"
    )
    rules = pipeline.check(folder, load_rulebook(), "leaderboard-apr29", None).rules
    assert next(r.outcome for r in rules if r.rule == "late_calibration") == outcome
