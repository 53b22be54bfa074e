from dataclasses import replace

import pytest
import torch

from trainer.artifact import pack_artifact, unpack_artifact
from trainer.errors import TrainerError
from trainer.quantization.calibrated_rounding import (
    clip_sigmas,
    quantize_calibrated,
    restore_calibrated,
)
from trainer.recipe import QuantizationOptions

PLAIN = QuantizationOptions(gptq_enabled=True, matrix_bits=6, embed_bits=7)
FULL = replace(PLAIN, lqer_enabled=True, awq_lite_enabled=True, gated_attn_quant_gate=True)
FC = "blocks.0.mlp.fc.weight"


@pytest.fixture(scope="module")
def model():
    """Weights, and Hessians of inputs that move together."""
    torch.manual_seed(0)
    state = {
        FC: torch.randn(640, 128) * torch.linspace(0.01, 1, 640)[:, None],
        "blocks.0.attn.c_q.weight": torch.randn(600, 128),
        "blocks.0.attn.attn_gate_w": torch.randn(8, 12),
        "tok_emb.weight": torch.randn(700, 128),
        "bigram_hash.table.weight": torch.randn(700, 128),
        "blocks.0.attn.q_gain": torch.randn(8),
    }
    inputs = torch.randn(500, 128) @ torch.randn(128, 128)
    hessians = {
        name: inputs.T @ inputs / 500 for name in state if "blocks" in name or "emb" in name
    }
    return state, hessians


def distance(model, options):
    state, hessians = model
    restored = restore_calibrated(quantize_calibrated(state, hessians, options), options)
    assert set(restored) == set(state)
    error = restored[FC] - state[FC]
    return float(((error @ hessians[FC]) * error).sum())


def test_bits_and_clips_are_the_groups_own(model):
    options = replace(PLAIN, matrix_clip_sigmas=12.0, mlp_clip_sigmas=11.0, embed_clip_sigmas=14.0)
    stored = quantize_calibrated(*model, options)
    assert [stored[name].bits for name in (FC, "tok_emb.weight")] == [6, 7]
    assert [clip_sigmas(name, options) for name in model[0] if "gate" not in name][:4] == [
        11.0,
        12.0,
        14.0,
        12.0,
    ]
    std = model[0]["tok_emb.weight"].std(dim=1)
    torch.testing.assert_close(
        stored["tok_emb.weight"].scale.float(), 14 * std / 63, rtol=1e-3, atol=0
    )


def test_finer_grids_and_fine_columns_bring_the_outputs_nearer(model):
    finer = replace(PLAIN, matrix_clip_sigmas=6.0)
    fine = replace(PLAIN, awq_lite_enabled=True, awq_lite_group_top_k=6)
    plain = distance(model, PLAIN)
    assert distance(model, finer) < 0.5 * plain
    assert distance(model, fine) < plain


def test_low_rank_products_bring_the_weights_themselves_nearer(model):
    state, hessians = model
    products = replace(PLAIN, lqer_enabled=True, lqer_rank=8)
    plain, corrected = (
        restore_calibrated(quantize_calibrated(state, hessians, options), options)
        for options in (PLAIN, products)
    )
    name = "tok_emb.weight"
    assert (corrected[name] - state[name]).norm() < (plain[name] - state[name]).norm()


@pytest.mark.parametrize("packing", ["bytes", "bits"])
def test_what_is_read_from_the_artifact_is_what_was_stored_bit_for_bit(model, packing):
    options = replace(FULL, code_packing=packing)
    stored = quantize_calibrated(*model, options)
    read = unpack_artifact(pack_artifact(stored, options).compressed, options)
    before, after = (restore_calibrated(dict(s), options) for s in (stored, read))
    assert set(before) == set(model[0])
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_gates_have_eight_bits_where_the_recipe_says(model):
    gate = "blocks.0.attn.attn_gate_w"
    assert quantize_calibrated(*model, FULL)[gate].values.dtype == torch.int8
    assert quantize_calibrated(*model, PLAIN)[gate].scale is None
    restored = restore_calibrated(quantize_calibrated(*model, FULL), FULL)[gate]
    assert (restored - model[0][gate]).abs().max() <= model[0][gate].abs().max() / 127


def test_a_table_without_a_hessian_is_rounded_to_nearest(model):
    name = "bigram_hash.table.weight"
    stored = quantize_calibrated(*model, PLAIN)[name]
    error = stored.values * stored.scale.float()[:, None] - model[0][name]
    assert (error.abs() <= 0.51 * stored.scale.float()[:, None]).all()


@pytest.mark.parametrize(
    ("part", "value"), [(0, torch.nan), (0, torch.inf), (0, 1e8), (1, torch.nan), (1, torch.inf)]
)
def test_what_is_no_number_is_refused_by_name_before_it_breaks_a_factorization(model, part, value):
    broken = [{name: tensor.clone() for name, tensor in side.items()} for side in model]
    broken[part][FC][3, 3] = value  # 1e8: its step is beyond fp16
    with pytest.raises(TrainerError, match=f"^{FC}: weights or their inputs are not finite"):
        quantize_calibrated(*broken, FULL)


@pytest.mark.parametrize("shape", [(640, 128), (1, 70_000)])
def test_rows_of_nothing_and_matrices_of_one_row_come_back(model, shape):
    options = replace(FULL, code_packing="rans", step_mantissa_bits=4)
    state = model[0] | {FC: torch.zeros(shape)}
    state[FC][0] = torch.linspace(-1, 1, shape[1])
    hessians = {name: hessian for name, hessian in model[1].items() if name != FC}
    packed = pack_artifact(quantize_calibrated(state, hessians, options), options)
    restored = restore_calibrated(unpack_artifact(packed.compressed, options), options)
    assert not restored[FC][1:].any()
    torch.testing.assert_close(restored[FC][0], state[FC][0], rtol=0, atol=0.15)
