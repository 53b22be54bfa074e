"""Code that a run counts itself is believed down to what our own packing comes to."""

import pytest
from evidence_on_file import whole_run

from verifier import pipeline
from verifier.rulebook import load_rulebook

CAP_BYTES = 16_000_000


@pytest.mark.parametrize(
    ("logged", "packed", "artifact", "expected"),
    [
        (1, 60_000, CAP_BYTES - 50_000, "not_evaluated"),
        (1, 40_000, CAP_BYTES - 50_000, "passed"),
        (61_000, 60_000, CAP_BYTES - 61_000, "passed"),
    ],
)
def test_fewer_bytes_than_any_packing_of_ours_do_not_pass_at_the_cap(
    logged, packed, artifact, expected
):
    counted = {"as_logged": logged, "rebuilt_wrapper": packed, "literal": packed}
    changes = {"measurements.0.artifact_bytes": artifact, "measurements.0.code_bytes": counted}
    seen = whole_run("rerun", changes)
    rules = pipeline.judge(seen, load_rulebook("10min_16mb"), "leaderboard-apr29").rules
    [answer] = [record for record in rules if record.rule == "oversized_artifact"]
    assert answer.outcome == expected, answer
