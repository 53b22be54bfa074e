import pytest
import torch
from assert_matches_reference import TOLERANCES, assert_matches_reference, backward_calls

from trainer.kernels.query_key_rotation.reference import heads_of_joint, normed_and_turned
from trainer.kernels.query_key_rotation.triton_kernel import (
    fused_heads_of_joint,
    fused_normed_and_turned,
)
from trainer.model.linear import rms_norm
from trainer.model.rotary import apply_rotary, rotary_tables


def test_the_reference_is_what_the_model_computes():
    heads, gains = torch.randn(2, 5, 3, 8), torch.tensor([0.5, 1.0, 4.0])
    cosine, sine = rotary_tables(5, rope_dims=4, base=100.0)
    expected = apply_rotary(rms_norm(heads), cosine, sine) * gains[:, None]
    assert torch.allclose(normed_and_turned(heads, cosine, sine, gains), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(
    ("shape", "rope_dims"), [((2, 5, 3, 16), 4), ((1, 70, 2, 24), 24), ((3, 33, 1, 8), 2)]
)
def test_outputs_and_gradients_are_the_references(device, shape, rope_dims, dtype):
    assert_matches_reference(*case(device, shape, rope_dims), dtype)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(
    ("shape", "num_kv_heads", "rope_dims"),
    [((2, 5, 4, 16), 2, 4), ((1, 70, 2, 24), 2, 24), ((3, 33, 3, 8), 1, 2)],
)
def test_so_are_those_of_joint_heads(device, shape, num_kv_heads, rope_dims, dtype):
    assert_matches_reference(*case(device, shape, rope_dims, num_kv_heads=num_kv_heads), dtype)


def case(device, shape, rope_dims, num_kv_heads=0):
    """Kernel, reference and inputs."""
    torch.manual_seed(0)
    *rows, num_heads, num_channels = shape
    joint = *rows, num_heads + 2 * num_kv_heads, num_channels
    heads = torch.randn(joint, dtype=torch.float64, device=device)
    gains = torch.randn(num_heads, dtype=torch.float64, device=device)
    tables = [table.to(device) for table in rotary_tables(shape[1], rope_dims, base=100.0)]
    fused, reference = fused_normed_and_turned, normed_and_turned
    if num_kv_heads:
        fused, reference = fused_heads_of_joint, heads_of_joint

    def kernel(heads, gains):
        return fused(heads, *tables, gains)

    def plain(heads, gains):
        return reference(heads, *(table.double() for table in tables), gains)

    return kernel, plain, [heads, gains]


@pytest.mark.parametrize("num_kv_heads", [0, 1])
def test_gains_that_nobody_asks_for_are_not_summed(device, num_kv_heads):
    calls = backward_calls(*case(device, (2, 5, 3, 16), 4, num_kv_heads))
    sums = {asked: calls[asked]["sum"] for asked in calls}
    assert sums == {(True, False): 0, (False, True): 1, (True, True): 1}
