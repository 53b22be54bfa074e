import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trainer.artifact import pack_artifact
from trainer.model.transformer import GPT
from trainer.planning.artifact_size import (
    LARGEST_ERROR,
    LAW_RANGE,
    byte_entropy,
    fine_column_bytes,
    kept_bytes,
    low_rank_bytes,
    predict_artifact,
)
from trainer.quantization.calibrated_rounding import quantize_calibrated
from trainer.quantization.low_rank import low_rank_parts
from trainer.quantization.rounding import payload_bytes, quantize_state, store_tensor
from trainer.recipe_file import load_recipe

PUBLIC_CONTAINER_BYTES = 12_755  # of PyTorch's, measured on an artifact of #1394's form
SUBMISSIONS = Path(__file__).parents[3] / "submissions"


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


# Model bytes that the public logs print; #1855 has a codec of its own, and its clips are fitted.
@pytest.mark.parametrize(
    ("name", "logged_bytes"),
    [
        ("pr1394", 15_973_467),
        ("pr1493", 15_975_300),
        ("pr1787", 15_909_203),
        ("pr1886", 15_946_240),
    ],
)
def test_the_size_law_foretells_public_artifacts(name, logged_bytes):
    predicted = predict_artifact(load_recipe(name, {}).recipe).num_bytes
    assert predicted + PUBLIC_CONTAINER_BYTES == pytest.approx(logged_bytes, rel=0.0005)


# A model of #1855's shape after 220 steps of 98,304 tokens of the public script on one H100.
@pytest.mark.parametrize(("packing", "packed_bytes"), [("rans", 15_913_925), ("bytes", 16_153_424)])
def test_the_size_law_foretells_a_model_of_few_steps_within_its_range(packing, packed_bytes):
    recipe = load_recipe("pr1855", {}).recipe
    recipe = replace(recipe, quantization=replace(recipe.quantization, code_packing=packing))
    predicted = predict_artifact(recipe).num_bytes
    least, most = LAW_RANGE[packing]
    assert predicted * (1 + least) <= packed_bytes <= predicted * (1 + most)
    assert predicted == pytest.approx(packed_bytes, rel=0.0031)


# int8 codes and two bytes of step a row (#1394 on), fp16 for the rest; gates in int8 from #1736 on.
@pytest.mark.parametrize(
    ("name", "num_parameters", "payload"),
    [
        ("pr1493", 35_944_536, 35_913_728 + 2 * 53_248 + 2 * 30_808),
        ("pr1886", 35_989_658, 35_913_728 + 2 * 53_248 + 2 * (30_808 + 66) + 45_056 + 2 * 88),
        ("pr1855", 35_945_671, 35_913_728 + 2 * 53_248 + 2 * (30_808 + 79) + 1_056 + 2 * 88),
    ],
)
def test_modern_recipes_have_the_parameters_and_payload_of_their_scripts(
    name, num_parameters, payload
):
    recipe = load_recipe(name, {"LQER_ENABLED": ("test", 0)}).recipe
    with torch.device("meta"):
        shapes = GPT(recipe.model, num_positions=1).state_dict()
    state = {name: torch.zeros(tensor.shape) for name, tensor in shapes.items()}
    assert sum(tensor.numel() for tensor in state.values()) == num_parameters
    assert payload_bytes(quantize_calibrated(state, {}, recipe.quantization)) == payload


def test_low_rank_parts_are_foretold_as_they_are_packed():
    options = replace(load_recipe("pr1855", {}).recipe.quantization, code_packing="bytes")
    torch.manual_seed(0)
    errors = {"a": torch.rand(2048, 512) - 0.5, "b": torch.rand(512, 2048) - 0.5}
    packed = len(pack_artifact(low_rank_parts(errors, options), options).compressed)
    predicted = low_rank_bytes([error.shape for error in errors.values()], options)
    assert predicted == pytest.approx(packed, rel=0.15)


def test_fine_columns_cost_what_their_record_tells():
    options = load_recipe("best", {}).recipe.quantization
    theirs = replace(options, code_packing="bytes", step_mantissa_bits=0)  # #1945
    assert fine_column_bytes(torch.Size([8192, 512]), theirs) == pytest.approx(87_000, rel=0.15)


@pytest.mark.parametrize("byte_shuffle", [True, False])
def test_small_matrices_are_foretold_as_their_floats_are_packed(byte_shuffle):
    recipe = load_recipe("pr1886", {}).recipe
    options = replace(recipe.quantization, byte_shuffle=byte_shuffle)
    torch.manual_seed(1)
    stored = {"m": store_tensor("m", torch.randn(128, 288), options)}
    packed = len(pack_artifact(stored, options).compressed)
    predicted = kept_bytes("m", torch.Size([128, 288]), options)
    assert predicted == pytest.approx(packed, rel=0.005)
    assert predicted < 0.95 * 2 * 128 * 288
