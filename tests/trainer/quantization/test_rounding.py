import pytest
import torch

from trainer.quantization.rounding import (
    max_code,
    quantize_state,
    restore_tensor,
    round_rows,
    store_tensor,
)
from trainer.recipe import QuantizationOptions

PLAIN = QuantizationOptions()


@pytest.mark.parametrize("bits", [2, 6, 8])
def test_rounding_is_off_by_half_a_step_at_most_where_nothing_is_clipped(bits):
    torch.manual_seed(0)
    matrix = torch.empty(4, 500).uniform_(-3.0, 3.0)
    matrix[:, 0] = 3.0  # so that the quantile is the largest value
    matrix[:, 1] = 3.0
    codes, scale = round_rows(matrix, bits)
    error = (codes.float() * scale.float()[:, None] - matrix).abs()
    assert (error <= 0.51 * scale.float()[:, None] + 3.0 * 2**-11).all()
    assert int(codes.abs().max()) == max_code(bits)


@pytest.mark.parametrize(("bits", "floor"), [(6, 1 / 31), (8, 1 / 127)])
def test_rows_below_one_share_the_step_of_one(bits, floor):
    _, scale = round_rows(torch.full((3, 10), 0.01), bits)
    assert torch.equal(scale, torch.full((3,), floor).half())


def test_big_matrices_become_codes_and_small_tensors_stay_floats():
    big = store_tensor("big", torch.randn(300, 256), PLAIN)
    small = store_tensor("small", torch.randn(256, 256), PLAIN)
    control = store_tensor("blocks.0.attn.q_gain", torch.randn(8), PLAIN)
    assert big.values.dtype == torch.int8 and big.num_bytes == 300 * 256 + 300 * 2
    assert small.values.dtype == torch.float16 and small.scale is None
    assert control.values.dtype == torch.float32


def test_the_recipe_names_tensors_that_stay_fp16_or_keep_eight_bits():
    options = QuantizationOptions(
        matrix_bits=6, fp16_passthrough_patterns="tok_emb,1.attn", int8_full_range_patterns="fc"
    )
    names = ("tok_emb.weight", "blocks.1.attn.c_k.weight", "blocks.0.mlp.fc.weight", "other")
    stored = quantize_state({name: torch.randn(300, 256) for name in names}, options)
    assert [stored[name].values.dtype for name in names[:2]] == [torch.float16] * 2
    assert [stored[name].bits for name in names[2:]] == [8, 6]
    assert int(stored["other"].values.abs().max()) == 31


def test_named_layers_are_rounded_once_more():
    options = QuantizationOptions(int4_layers="1,10", int4_step=4)
    names = [f"blocks.{layer}.mlp.fc.weight" for layer in (0, 1, 10)]
    stored = quantize_state({name: 2 * torch.randn(300, 256) for name in names}, options)
    remainders = [stored[name].values.remainder(4).unique().tolist() for name in names]
    # The outermost code is no multiple of 4, and a clamped one keeps it.
    assert len(remainders[0]) == 4 and all(set(r) <= {0, 1, 3} for r in remainders[1:])


def test_the_original_type_comes_back():
    for dtype in (torch.float32, torch.bfloat16):
        stored = store_tensor("big", torch.randn(300, 256).to(dtype), PLAIN)
        assert restore_tensor(stored).dtype == dtype
