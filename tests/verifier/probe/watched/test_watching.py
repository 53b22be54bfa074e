"""Scripts that write no losses, with the instrument in their process, through the whole rung."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from evidence_on_file import whole_run

from verifier.pipeline import judge
from verifier.probe.scoring import write_shard
from verifier.probe.watched.ledger import read_ledger
from verifier.probe.watched.watching import INSTRUMENT
from verifier.rulebook import load_rulebook

SCRIPT = Path(__file__).with_name("table_script.py")


def broken(verdict: dict) -> set[str]:
    return {rule["rule"] for rule in verdict["rules"] if rule["outcome"] == "broken"}


def test_the_instrument_is_heard_by_an_unchanged_script(world, tmp_path):
    for split, tokens in (("train", world.training), ("val", world.tape.tokens)):
        write_shard(tmp_path / f"fineweb_{split}_000000.bin", tokens)
    own = {"PYTHONPATH": str(INSTRUMENT), "PGOLF_RECORD": "record.bin", "SEED": "1"}
    ran = subprocess.run(
        [sys.executable, SCRIPT],
        cwd=tmp_path,
        env=os.environ | own | {"DATA_PATH": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    printed = float(ran.stdout.split("val_loss:")[1].split()[0])
    ledger = read_ledger(tmp_path / "record.bin", world.tape.tokens, printed)
    assert ledger.record.num_scored == world.tape.num_targets and ledger.record.num_steps == 5
    assert len(ledger.losses) == world.tape.num_targets


@pytest.mark.parametrize(("num_scored", "outcome"), [(64_300, "passed"), (64_200, "not_evaluated")])
@pytest.mark.parametrize("rule", ["update_before_score", "rescored_tokens"])
def test_a_pass_that_was_noted_in_part_is_not_passed(rule, num_scored, outcome):
    evidence = whole_run("probe", {"probe.ledger.num_scored": num_scored})
    verdict = judge(evidence, load_rulebook("10min_16mb"), "readme-strict")
    [judged] = [record for record in verdict.rules if record.rule == rule]
    assert judged.outcome == outcome


@pytest.mark.slow
@pytest.mark.timeout(1_800)  # a dozen starts of PyTorch on a busy machine
@pytest.mark.parametrize(
    ("mode", "rule"),
    [("train_then_score", "update_before_score"), ("best_of_passes", "rescored_tokens")],
)
def test_breaches_that_the_instrument_sees_are_rejected(probed, mode, rule):
    verdict = probed(SCRIPT.read_text().replace('"plain"', f'"{mode}"', 1), None)
    assert rule in broken(verdict)


@pytest.mark.slow
@pytest.mark.timeout(1_800)  # a dozen starts of PyTorch on a busy machine
@pytest.mark.parametrize("mode", ["plain", "score_first", "own_losses"])
def test_what_the_instrument_sees_or_not_passes_nothing(probed, mode):
    verdict = probed(SCRIPT.read_text().replace('"plain"', f'"{mode}"', 1), None)
    assert not broken(verdict)
    passed = {rule["rule"] for rule in verdict["rules"] if rule["outcome"] == "passed"}
    assert passed == {"shared_documents"}  # of the data, and not of the script
    is_heard = verdict["probe"]["ledger"]["not_evaluated"] is None
    assert is_heard == (mode != "own_losses")
