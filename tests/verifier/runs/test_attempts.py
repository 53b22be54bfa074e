"""A seed that the machine failed is run again as often as planned, and every attempt is told."""

import json
from pathlib import Path

import pytest
from tiny_track import HONEST_SCRIPT

import verifier.runs.execute

LOG = """seed:42
step:1/1 train_loss:2.5 train_time:20ms
final_int8_zlib_roundtrip_exact val_loss:3.5 val_bpb:2.005
"""


@pytest.fixture
def broken_machine(monkeypatch):
    """A machine that loses its GPU in the first so many attempts: no such machine is here."""

    def breaks(times: int) -> None:
        left = iter(["GPU 3 was lost"] * times)
        monkeypatch.setattr(verifier.runs.execute, "machine_fault", lambda *_: next(left, None))

    return breaks


def test_a_seed_is_run_again_and_the_first_attempt_told(
    pgolf, make_submission, measured, broken_machine
):
    broken_machine(1)
    assert pgolf("run", make_submission(), "--seeds", "7").exit_code == 0
    seed = measured(7)
    assert (seed.outcome, len(seed.attempts)) == ("completed", 1)
    assert seed.attempts[0].reason == "GPU 3 was lost"


def test_a_machine_that_stays_broken_decides_nothing(
    pgolf, make_submission, measured, broken_machine
):
    broken_machine(9)
    result = pgolf("verify", make_submission(), "--seeds", "7", "--format", "json")
    assert result.exit_code == 3
    answers = {r["rule"]: r["outcome"] for r in json.loads(result.stdout)["rules"]}
    assert answers["failed_run"] == "not_evaluated"
    assert (measured(7).outcome, measured(7).val_bpb) == ("infrastructure", None)
    assert len(measured(7).attempts) == 1


def test_an_attempt_that_was_cut_short_is_told(pgolf, make_submission, measured, tmp_path):
    submission = make_submission()
    pgolf("run", submission, "--seeds", "7")
    for name in ("measurement.json", "../evidence.json"):
        (tmp_path / "out" / "seed_7" / name).unlink()
    assert pgolf("run", submission, "--seeds", "7", "--resume").exit_code == 0
    assert [a.reason for a in measured(7).attempts] == [
        "the harness was stopped during this attempt"
    ]


def test_the_authors_seeds_are_run_beside_the_assigned_ones(pgolf, make_submission, tmp_path):
    submission = make_submission(HONEST_SCRIPT, {"train_seed42.log": LOG})
    result = pgolf("run", submission, "--num-seeds", "1", "--replicate", "3")
    assert result.exit_code == 0, result.stderr
    evidence = json.loads((tmp_path / "out" / "evidence.json").read_text())
    assert evidence["plan"]["replicated_seeds"] == [42]
    assert [run["seed"] for run in evidence["replications"]] == [42]
    assert len(evidence["measurements"]) == 1
    assert (tmp_path / "out" / "replica_42" / "stdout.log").exists()


def test_the_plan_names_retries_and_replicas_before_the_first_run(pgolf, make_submission):
    submission = make_submission(HONEST_SCRIPT, {"train_seed42.log": LOG})
    result = pgolf("run", submission, "--plan-only", "--replicate", "1")
    plan = json.loads(result.stdout)
    assert (plan["retries"], plan["replicated_seeds"]) == (1, [42])
    assert result.stdout.isascii()


def test_a_plan_of_any_name_is_printed_in_ascii(pgolf, make_submission):
    folder = make_submission()
    odd: Path = folder.rename(folder.with_name("caf\u00e9\u202e"))
    assert pgolf("run", odd, "--plan-only").stdout.isascii()
