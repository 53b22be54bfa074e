"""What pgolf-train writes about streaming is what pgolf-verify reads, and it scores alike."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.recipe_file import load_recipe, recipe_names
from trainer.submission_folder.contract import documents_line, stream_lines
from verifier.schemas.pgolf_yaml import read_contract, split_contract

BIN = Path(sys.executable).parent
PHASES = "train: python a.py\nevaluate: python a.py\nartifact: [a]\n"
LEARNING = (
    "evaluation.ttt_enabled=true",
    "evaluation.ttt_chunk_size=64",
    "evaluation.ttt_eval_seq_len=256",
)


def offered(name):
    told = split_contract(read_contract(PHASES + stream_lines(load_recipe(name, {}).recipe)))
    return told.stream


def shares_documents(recipe):
    """Whether a token's score depends on other documents than its own, or where they stand."""
    options = recipe.evaluation
    if options.ttt_enabled:
        return options.ttt_warm_start_a or options.phased_ttt_num_phases > 0
    return recipe.batch.pack_documents


def test_each_recipe_offers_a_stream_that_is_read_or_shares_documents():
    offers = {name: offered(name) for name in recipe_names()}
    assert {n for n, offer in offers.items() if offer is None} == {
        n for n in offers if shares_documents(load_recipe(n, {}).recipe)
    }
    assert offers["pr1530"] is not None and offers["pr1855"] is None
    assert offers["demo"].piece_tokens == 128 and offers["demo"].context_tokens == 0
    assert offers["pr77"].piece_tokens is None and offers["pr77"].num_lanes == 64
    sliding = offers["pr50"]
    assert sliding.piece_tokens + sliding.context_tokens == 1024


@pytest.mark.parametrize(
    ("name", "changes", "promise"),
    [
        ("pr77", {}, "alone"),
        ("pr1855", {}, None),  # warm adapters, and pauses in which all weights learn
        ("pr1855", {"evaluation.ttt_enabled": False}, "apart"),
        ("pr1855", {"evaluation.ttt_enabled": False, "model.smear_gate_bos_fix": False}, None),
        ("demo", {}, None),
    ],
)
def test_documents_are_promised_apart_where_nothing_goes_between_them(name, changes, promise):
    changes |= {"evaluation.phased_ttt_num_phases": 0} if changes else {}
    told = {path: ("here", value) for path, value in changes.items()}
    line = documents_line(load_recipe(name, told).recipe)
    assert read_contract(PHASES + line).get("documents") == promise


@pytest.mark.slow
@pytest.mark.parametrize("changes", [(), LEARNING])
def test_a_trained_script_streams_what_it_evaluates_and_decodes(tmp_path, changes):
    def call(*words):
        subprocess.run([BIN / words[0], *words[1:]], cwd=tmp_path, check=False, stdout=told)

    words = [part for change in (*changes, "ITERATIONS=30") for part in ("--set", change)]
    with (tmp_path / "told").open("w") as told:
        call("pgolf-train", "data", "build", "--corpus", "jargon", "--out", "data")
        call("pgolf-train", "demo", "--data", "data", "--untrained", "--out", "sub", *words)
    with (tmp_path / "verdict").open("w") as told:
        words = ("--track", "demo", "--rung", "stream", "--num-seeds", "1", "--format", "json")
        call("pgolf-verify", "verify", "sub", "--data", "data", "--out", "run", *words)
    [stream] = json.loads((tmp_path / "verdict").read_text())["streams"]
    assert stream["num_targets"] == 49_802 and stream["num_documents"] == 179
    assert stream["largest_difference_nats"] < 1e-4
    assert stream["decoded"]["first_difference"] is None
