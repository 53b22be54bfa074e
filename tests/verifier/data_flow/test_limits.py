"""Evaluation that a setting ends early, seen where the claimed score depends on it."""

import json
from pathlib import Path

import pytest

from verifier import pipeline
from verifier.data_flow.limits import evaluation_limits, limit_mark
from verifier.findings import Outcome
from verifier.rulebook import load_rulebook

TRACK = load_rulebook("10min_16mb")
SCRIPT = """
import os
import numpy as np
import torch

class Hyperparameters:
    {name} = int(os.environ.get("LIMIT", {default}))

def score(model, tokens, limit):
    num_tokens = tokens.numel() - 1
    if limit > 0:
        num_tokens = min(num_tokens, limit)
    total = torch.zeros(())
    for start in range(0, num_tokens, 64):
        total += model(tokens[start:start + 64], tokens[start + 1:start + 65])
    return total

class GPT(torch.nn.Module):
    pass

args, model = Hyperparameters(), GPT()
tokens = torch.from_numpy(np.fromfile("fineweb_val_000000.bin"))
print(f"while training: bpb={{score(model, tokens, {while_training})}}")
loss = score(model, tokens, {at_the_end})
print(f"final_exact val_loss:{{loss}} val_bpb:{{loss}}")
"""
LOG = """val_loader:shards pattern=fineweb_val_*.bin tokens:62021632
while training: bpb=1.3000
final_exact val_loss:2.02600000 val_bpb:1.20000000
"""


def outcome(folder: Path, command: str = "", **holes: object):
    settings = {"name": "val_max_tokens", "default": 0, "while_training": 0} | holes
    settings.setdefault("at_the_end", f"args.{settings['name']}")
    (folder / "train_gpt.py").write_text(SCRIPT.format(**settings))
    (folder / "README.md").write_text(command)
    (folder / "train_seed1.log").write_text(LOG)
    (folder / "submission.json").write_text(json.dumps({"val_bpb": 1.2}))
    rules = pipeline.audit(folder, TRACK).rules
    return next(record for record in rules if record.rule == "partial_validation")


def test_a_limit_that_the_run_command_sets_is_told(tmp_path):
    record = outcome(tmp_path, "LIMIT=1000000 torchrun train_gpt.py")
    assert [finding.message for finding in record.findings] == [
        "the claimed score ends after 1,000,000 tokens, by val_max_tokens"
    ]


@pytest.mark.parametrize("command", ["", "LIMIT=0 torchrun train_gpt.py"])
def test_a_limit_that_is_off_cuts_nothing(tmp_path, command):
    assert outcome(tmp_path, command).outcome is Outcome.PASSED


def test_a_limit_of_validations_within_training_does_not_touch_the_claim(tmp_path):
    holes = {"while_training": "args.val_max_tokens", "at_the_end": 0}
    assert outcome(tmp_path, default=500_000, **holes).outcome is Outcome.PASSED


def test_a_limit_beyond_the_whole_cuts_nothing(tmp_path):
    assert outcome(tmp_path, default=62_021_632).outcome is Outcome.PASSED


@pytest.mark.parametrize(
    "num_sequences, answer",
    [
        (256, Outcome.BROKEN),  # too few, however long they are
        (4096, Outcome.NOT_EVALUATED),  # their length decides
        (1_000_000, Outcome.PASSED),  # enough, however short the stride is
    ],
)
def test_sequences_count_as_long_or_as_short_as_they_come(tmp_path, num_sequences, answer):
    record = outcome(tmp_path, name="eval_max_seqs", default=num_sequences)
    assert record.outcome is answer, record


@pytest.mark.parametrize(
    "name, is_limit",
    [
        ("val_sliding_max_tokens", True),
        ("MAX_VAL_TOKENS", True),
        ("val_batch_tokens", False),
        ("train_max_tokens", False),
        ("ttt_eval_max_docs", False),  # what is learned, not what is scored
        ("eval_max_seconds", False),
    ],
)
def test_limits_are_known_by_what_they_are_called(name, is_limit):
    limits = evaluation_limits(limit_mark(name, 1000))
    assert [limit.name for limit in limits] == [name] * is_limit


@pytest.mark.parametrize(
    "num_tokens, answer", [(99_328, Outcome.BROKEN), (62_021_632, Outcome.NOT_EVALUATED)]
)
def test_a_log_without_a_final_score_still_says_what_it_validates_on(tmp_path, num_tokens, answer):
    outcome(tmp_path)
    log = f"val_loader:tokens:{num_tokens}\nstep:5/9 val_loss:1.9 val_bpb:1.2000\n"
    (tmp_path / "train_seed1.log").write_text(log)
    rules = pipeline.audit(tmp_path, TRACK).rules
    record = next(record for record in rules if record.rule == "partial_validation")
    assert record.outcome is answer, record
