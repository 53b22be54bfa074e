"""A seed that the machine failed is run again as often as planned, and every attempt is told."""

import json
from pathlib import Path

import pytest
from tiny_track import HONEST_SCRIPT

import verifier.runs.execute
from verifier.runs.journal import Journal, write_record
from verifier.runs.machine.faults import DISK_FULL
from verifier.schemas.sampled_record_json import SampledRecord

CRASHING = "import sys; sys.exit('I have seen my score')"
LOG = """seed:42
step:1/1 train_loss:2.5 train_time:20ms
final_int8_zlib_roundtrip_exact val_loss:3.5 val_bpb:2.005
"""


@pytest.fixture
def broken_machine(monkeypatch):
    """A machine that loses its GPU in the first so many attempts: no such machine is here."""

    def breaks(times: int, fault: str = "GPU 3 was lost") -> None:
        left = iter([fault] * times)
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


def test_what_the_machine_failed_is_run_again_when_it_was_mended(
    pgolf, make_submission, measured, broken_machine, tmp_path
):
    submission, seeds = make_submission(), ("--seeds", "7,8")
    broken_machine(2)
    failed = pgolf("verify", submission, *seeds, "--format", "json")
    [rule] = [r for r in json.loads(failed.stdout)["rules"] if r["rule"] == "failed_run"]
    assert "--resume runs it again" in rule["reason"]
    other = (tmp_path / "out" / "seed_8" / "measurement.json").read_bytes()
    write_record(tmp_path / "out" / "sampled.json", SampledRecord(seed=7, secret="0"))
    mended = pgolf("run", submission, *seeds, "--resume")
    assert mended.exit_code == 0
    assert "seed 7: the machine failed it: GPU 3 was lost; run again" in mended.stderr
    assert measured(7).outcome == "completed"
    assert [a.reason for a in measured(7).attempts] == ["GPU 3 was lost"] * 2
    assert (tmp_path / "out" / "seed_8" / "measurement.json").read_bytes() == other
    assert not (tmp_path / "out" / "sampled.json").exists()
    [told, _] = Journal(tmp_path / "out").evidence().measurements
    assert told == measured(7)


def test_a_resumed_seed_has_one_attempt_a_command_and_all_are_told(
    pgolf, make_submission, measured, broken_machine
):
    submission = make_submission()
    broken_machine(9)
    pgolf("run", submission, "--seeds", "7")
    for num_attempts in (2, 3):
        pgolf("run", submission, "--seeds", "7", "--resume")
        assert measured(7).outcome == "infrastructure"
        assert len(measured(7).attempts) == num_attempts


def test_what_the_submission_did_is_never_run_again(
    pgolf, make_submission, measured, broken_machine, tmp_path
):
    """Nor by a machine that would be found at fault now."""
    submission = make_submission(CRASHING)
    assert pgolf("run", submission, "--seeds", "7").exit_code == 0
    before = (tmp_path / "out" / "seed_7" / "measurement.json").read_bytes()
    broken_machine(9)
    pgolf("run", submission, "--seeds", "7", "--resume")
    assert measured(7).outcome == "crash"
    assert (tmp_path / "out" / "seed_7" / "measurement.json").read_bytes() == before


def test_a_full_disk_gives_no_other_attempt_before_a_run_could_not_fill_it(
    pgolf, make_submission, measured, broken_machine, monkeypatch
):
    """Else whoever dislikes his score fills a small disk, crashes, and tries again."""
    submission, sizes = make_submission(CRASHING), verifier.runs.execute.psutil.disk_usage("/")
    small, large = sizes._replace(free=1 << 20), sizes._replace(free=1 << 40)
    broken_machine(1, DISK_FULL)
    monkeypatch.setattr(verifier.runs.execute.psutil, "disk_usage", lambda _: small)
    pgolf("run", submission, "--seeds", "7")
    assert (measured(7).outcome, measured(7).attempts) == ("infrastructure", ())
    refused = pgolf("run", submission, "--seeds", "7", "--resume")
    assert "seed 7: not run again: the disk had less than" in refused.stderr
    assert "1,048,576 are free now" in refused.stderr and "make room" in refused.stderr
    assert (measured(7).outcome, measured(7).attempts) == ("infrastructure", ())
    monkeypatch.setattr(verifier.runs.execute.psutil, "disk_usage", lambda _: large)
    pgolf("run", submission, "--seeds", "7", "--resume")
    assert (measured(7).outcome, len(measured(7).attempts)) == ("crash", 1)


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
