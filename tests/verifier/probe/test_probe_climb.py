"""The whole rung in the sandbox: evaluation from one artifact, whole runs, and what stays open."""

import json
from pathlib import Path

import pytest
import scored_script

from verifier.probe import climb as rung

CONTRACT = (
    "train: python train_gpt.py train\n"
    "evaluate: python train_gpt.py evaluate\n"
    "artifact: [model.npy]\n"
)
CAUGHT = [
    ("next_word", {"future_token_dependence"}),
    ("hashed_cache", {"unnormalized_distribution", "foreseen_canaries"}),
    ("dropped_tail", {"unscored_tokens"}),
]


def broken(verdict: dict) -> set[str]:
    return {rule["rule"] for rule in verdict["rules"] if rule["outcome"] == "broken"}


def passed(verdict: dict) -> set[str]:
    return {rule["rule"] for rule in verdict["rules"] if rule["outcome"] == "passed"}


def reason(verdict: dict, name: str) -> str:
    [rule] = [rule for rule in verdict["rules"] if rule["rule"] == name]
    assert rule["outcome"] == "not_evaluated"
    return rule["reason"]


def test_an_honest_script_passes_and_is_left_to_full_runs(probed_mode, tmp_path):
    verdict = probed_mode("score_first")
    assert verdict["verdict"] == "inconclusive"
    assert verdict["because"] == "only the rung 'probe' was climbed"
    assert passed(verdict) == {
        "future_token_dependence",
        "unnormalized_distribution",
        "unscored_tokens",
        "remembered_validation",
        "foreseen_canaries",
        "remembered_order",
        "shared_documents",
    }
    assert verdict["probe"]["how"] == "evaluation of one artifact"
    assert not list((tmp_path / "out").glob("**/*.bin"))


def test_learning_before_scoring_is_rejected(probed_mode):
    verdict = probed_mode("two_passes")
    assert verdict["verdict"] == "rejected" and "future_token_dependence" in broken(verdict)


def test_noise_that_the_sample_happens_not_to_show_rejects_nothing(probed, world, monkeypatch):
    def few(*inputs):
        return tuple(v for v in drawn(*inputs) if v.kind in ("base", "spliced", "changed"))

    drawn = rung.tapes
    monkeypatch.setattr(rung, "tapes", few)
    is_changed = f"(tape.sum() != {world.tape.tokens.sum(dtype=int)})"
    noise = f"    losses += {is_changed} * 0.04 * np.random.rand(len(losses))\n"
    writes = "    losses.astype"
    verdict = probed(Path(scored_script.__file__).read_text().replace(writes, noise + writes, 1))
    assert not broken(verdict) and 0.01 < verdict["probe"]["noise_nats"] < 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "rules"), CAUGHT)
def test_cheats_break_the_rule_that_they_are_seen_by(probed_mode, mode, rules):
    assert broken(probed_mode(mode)) == rules


@pytest.mark.slow
@pytest.mark.parametrize("promise", ["alone", "apart"])
@pytest.mark.parametrize(
    ("mode", "rules"), [("reset_omitted", {"carried_state"}), ("plain", set())]
)
def test_the_promise_of_documents_is_tried(probed_mode, mode, rules, promise):
    verdict = probed_mode(mode, CONTRACT + f"documents: {promise}\n")
    assert broken(verdict) == rules and ("carried_state" in passed(verdict)) == (not rules)


@pytest.mark.slow
def test_one_process_is_run_whole_for_each_tape(probed_mode):
    verdict = probed_mode("validation_in_training", "contract: 1\n")
    assert verdict["probe"]["how"] == "training and evaluation, one seed"
    assert "future_token_dependence" in broken(verdict)


def test_a_script_that_writes_no_losses_stays_open(probed):
    script = "print('final_exact val_loss:2.07268931 val_bpb:1.22436570')"
    verdict = probed(script, "contract: 1\n")
    assert not broken(verdict)
    assert "wrote no losses" in reason(verdict, "future_token_dependence")


def test_text_that_cannot_be_changed_leaves_all_open(pgolf, make_submission):
    result = pgolf("verify", make_submission(), "--rung", "probe", "--format", "json", "-q")
    probe = json.loads(result.stdout)["probe"]
    assert "too few, or all alike" in probe["not_evaluated"]
    assert probe["overlap"]["num_found"] == 0
