import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trainer.artifact import pack_artifact
from trainer.artifact_size import (
    LARGEST_ERROR,
    byte_entropy,
    cap_warning,
    describe_artifact,
    predict_artifact,
    track_cap_bytes,
)
from trainer.model.transformer import GPT
from trainer.quantization.rounding import quantize_state
from trainer.recipe_file import load_recipe

SUBMISSIONS = Path(__file__).parents[2] / "submissions"


def shipped_artifact_bytes(name):
    figures = json.loads((SUBMISSIONS / name / "submission.json").read_text())
    return figures["bytes_total"] - figures["bytes_code"]


@pytest.mark.parametrize("name", ["demo", "demo_baseline"])
def test_the_shipped_artifacts_are_predicted_to_the_error_that_is_stated(name):
    predicted = predict_artifact(load_recipe(name, {}).recipe).num_bytes
    assert abs(predicted / shipped_artifact_bytes(name) - 1) <= LARGEST_ERROR


def test_a_public_record_with_weight_decay_is_predicted_to_the_error_that_is_stated():
    predicted = predict_artifact(load_recipe("pr60", {}).recipe).num_bytes
    assert abs(predicted / 15_318_760 - 1) <= LARGEST_ERROR  # its seed 1337's log


@pytest.mark.parametrize(("key", "value"), [("matrix_bits", 4), ("code_packing", "bits")])
def test_a_model_of_known_weights_is_predicted_as_it_is_packed(tiny_recipe, key, value):
    """Untrained: no steps, so that the spread is the initial one."""
    quantization = replace(tiny_recipe.quantization, **{key: value})
    model = replace(tiny_recipe.model, vocab_size=4096, model_dim=128, tied_embed_init_std=0.5)
    schedule = replace(tiny_recipe.schedule, iterations=1)
    optimizer = replace(tiny_recipe.optimizer, matrix_lr=0.0, tied_embed_lr=0.0)
    recipe = replace(
        tiny_recipe,
        quantization=quantization,
        model=model,
        schedule=schedule,
        optimizer=optimizer,
    )
    torch.manual_seed(0)
    stored = quantize_state(GPT(model, num_positions=16).state_dict(), quantization)
    packed = len(
        pack_artifact({"tok_emb.weight": stored["tok_emb.weight"]}, quantization).compressed
    )
    predicted = predict_artifact(recipe).groups["embedding"].num_bytes
    assert predicted == pytest.approx(packed, rel=0.02)


def test_entropy_is_that_of_the_bytes():
    assert byte_entropy(bytes(range(256)) * 3) == pytest.approx(8.0)
    assert byte_entropy(b"\0" * 9 + b"\1" * 9) == pytest.approx(1.0)
    assert byte_entropy(b"") == 0.0


def test_the_cap_is_the_tracks():
    assert track_cap_bytes("10min_16mb") == 16_000_000
    recipe = load_recipe("demo", {}).recipe
    text = describe_artifact(predict_artifact(recipe), recipe, track_cap_bytes("demo"))
    assert "of the track's cap of 500,000" in text


def test_a_cap_that_will_break_is_said_before_training():
    recipe = load_recipe("demo", {}).recipe
    assert cap_warning(recipe, code_bytes=90_000, cap_bytes=500_000) is None
    warning = cap_warning(recipe, code_bytes=90_000, cap_bytes=400_000)
    assert "over the track's cap of 400,000: lower model.num_layers" in warning
