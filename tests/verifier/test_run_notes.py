"""What a report says beside the figures: pace, attempts, replicas, replays."""

import math
from pathlib import Path

import pytest
from evidence_on_file import read_evidence

from verifier import pipeline
from verifier.reports.run_notes import pace_note, probe_note, run_notes
from verifier.rulebook import load_rulebook
from verifier.schemas.run_record_json import Attempt
from verifier.schemas.verdict_json import VerdictFile

RULEBOOK = load_rulebook("10min_16mb")
CASES = Path(__file__).parent / "rule_cases"


def verdict(case: str) -> VerdictFile:
    return pipeline.judge(read_evidence(CASES / f"{case}.yaml"), RULEBOOK, "readme-strict")


def test_a_slow_host_is_told_with_what_its_curve_points_to():
    given = verdict("unreplicated_seed/clean")
    slow = [
        m.model_copy(update={"num_steps": 2450, "loss_per_log_step": -0.1})
        for m in given.measurements
    ]
    note = pace_note(given.model_copy(update={"measurements": tuple(slow)}))
    assert note.startswith("2,450 steps of 244.7 ms here, 4,900 claimed")
    gain = 0.1 * math.log(2) / slow[0].val_loss_nats
    mean = sum(m.val_bpb for m in slow) / len(slow)
    assert float(note.split("about ")[1].split()[0]) == pytest.approx(mean * (1 - gain), abs=2e-4)


def test_a_host_of_the_same_pace_is_not_mentioned():
    assert pace_note(verdict("unreplicated_seed/clean")) is None


def test_the_authors_seed_stands_beside_his_log():
    notes = run_notes(verdict("unreplicated_seed/flagged"))
    assert "the author's seed 42: completed, 1.08640 BPB here, 1.05030 in its log" in notes


def test_replays_and_packages_are_told():
    notes = "\n".join(run_notes(verdict("artifact_ignored/clean")))
    assert "evaluated on a corrupted artifact: – BPB" in notes
    assert "packages opened in every evaluation: torch-2.11.0" in notes


def test_attempts_that_do_not_count_are_told():
    given = verdict("failed_run/clean")
    failed = Attempt(outcome="infrastructure", reason="GPU 3 was lost", wall_seconds=9.0)
    again = given.measurements[0].model_copy(update={"attempts": (failed,)})
    notes = run_notes(given.model_copy(update={"measurements": (again,)}))
    assert notes == (f"seed {again.seed}: an attempt does not count: GPU 3 was lost",)


def test_changed_texts_that_nobody_scored_are_not_told_as_still():
    given = verdict("future_token_dependence/clean")
    moves = [m.model_copy(update={"not_scored": "exit code 1"}) for m in given.probe.moves]
    probe = given.probe.model_copy(update={"moves": tuple(moves)})
    assert "move by 0" in probe_note(given)
    assert "no changed text" in probe_note(given.model_copy(update={"probe": probe}))
