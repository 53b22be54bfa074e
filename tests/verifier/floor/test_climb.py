"""The whole rung on small scripts, in the sandbox: what it catches, clears and leaves open."""

import json

import pytest
from click.testing import CliRunner

from verifier.cli import cli

NO_LOOK = """
print("val_loader:shards pattern=- tokens:62021632")
print("final_exact val_loss:2.07268931 val_bpb:1.22436570")
"""


def broken(verdict: dict) -> set[str]:
    return {rule["rule"] for rule in verdict["rules"] if rule["outcome"] == "broken"}


def reason(verdict: dict, name: str) -> str:
    [rule] = [rule for rule in verdict["rules"] if rule["rule"] == name]
    assert rule["outcome"] == "not_evaluated"
    return rule["reason"]


@pytest.mark.parametrize("mode", ["plain", "score_first"])
def test_honest_scripts_pass_near_the_entropy_and_are_left_to_full_runs(scored, mode, tmp_path):
    verdict = scored(mode)
    assert verdict["verdict"] == "inconclusive" and not broken(verdict)
    assert verdict["because"] == "floor completed here; not evaluated: failed_run"
    floor = verdict["floor"]
    entropy = floor["world"]["floor_nats"] / floor["world"]["num_targets"]
    assert -0.005 < floor["loss_nats"] - entropy < 0.02
    assert floor["betting_odds_nats"] < 5 and floor["no_betting"] is None


@pytest.mark.parametrize(
    ("mode", "rules"),
    [
        ("learned_before:100", {"below_entropy_floor"}),
        ("target_peek:0.02", {"below_entropy_floor"}),
        ("stated_part", {"dropped_tokens"}),
        ("doubled_spaces", {"miscounted_bytes"}),
    ],
)
def test_cheats_break_the_rule_that_they_are_seen_by(scored, mode, rules):
    verdict = scored(mode)
    assert verdict["verdict"] == "rejected"
    assert broken(verdict) == rules


def test_a_script_that_reads_no_tape_is_not_judged_by_it(climb):
    verdict = climb(NO_LOOK)
    assert not broken(verdict)
    assert "never opened the validation shard" in reason(verdict, "below_entropy_floor")


def test_a_script_that_crashes_in_small_is_told_with_its_last_words(climb):
    verdict = climb("raise SystemExit('VOCAB_SIZE must be 8192')")
    assert "VOCAB_SIZE must be 8192" in reason(verdict, "miscounted_bytes")
    assert "floor failed here" in verdict["because"]


def test_the_secret_comes_with_the_evidence_and_the_data_go(scored, tmp_path):
    verdict = scored("plain")
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert not list((tmp_path / "out").glob("**/*.bin"))
    assert verdict["floor"]["world"]["secret"] not in json.dumps(plan)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rung", "floor", "--data", "."), "--data: on the rung 'floor'"),
        (("--rung", "floor", "--env", "VOCAB_SIZE=few"), "give a whole number"),
        (("--rung", "rehearsal", "--floor-minutes", "1"), "for --rung floor alone"),
    ],
)
def test_options_without_a_meaning_are_refused(make_submission, tiny_rules, arguments, message):
    words = ["run", str(make_submission()), "--track", "demo", *arguments]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 2 and message in result.output
