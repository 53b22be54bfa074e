import pytest
import torch
from assert_matches_reference import TOLERANCES, assert_matches_reference

from trainer.kernels.own_value_gate.reference import gated_without_own_value, without_own_value
from trainer.kernels.own_value_gate.triton_kernel import fused_gated_without_own_value


def test_in_the_reference_nothing_points_along_the_own_value():
    gathered, values = torch.randn(2, 3, 4, 8), torch.randn(2, 3, 2, 8)
    left = without_own_value(gathered, values)
    assert (left * values.repeat_interleave(2, dim=2)).sum(-1).abs().max() < 1e-5
    assert torch.allclose(without_own_value(left, values), left, atol=1e-6)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(
    ("shape", "num_kv_heads"), [((2, 5, 4, 16), 2), ((1, 70, 3, 24), 1), ((3, 33, 2, 8), 2)]
)
def test_outputs_and_gradients_are_the_references(device, shape, num_kv_heads, dtype):
    torch.manual_seed(0)
    gathered = torch.randn(shape, dtype=torch.float64, device=device)
    values = torch.randn(*shape[:2], num_kv_heads, shape[3], dtype=torch.float64, device=device)
    factors = torch.rand(shape[:3], dtype=torch.float64, device=device)
    inputs = [gathered, values, factors]
    assert_matches_reference(fused_gated_without_own_value, gated_without_own_value, inputs, dtype)


def test_where_a_value_is_nothing_all_stays(device):
    gathered, values = (
        torch.randn(1, 3, 2, 8, device=device),
        torch.zeros(1, 3, 1, 8, device=device),
    )
    gated = fused_gated_without_own_value(gathered, values, gathered.new_ones(1, 3, 2))
    assert torch.equal(gated, gathered)
