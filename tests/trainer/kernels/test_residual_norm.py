from functools import partial

import pytest
import torch
from assert_matches_reference import TOLERANCES, assert_matches_reference, backward_calls

from trainer.kernels.residual_norm.reference import mixed_and_normed
from trainer.kernels.residual_norm.triton_kernel import fused_mixed_and_normed


def test_the_reference_norms_what_it_mixed():
    stream, embedded, mix = torch.randn(3, 8), torch.randn(3, 8), torch.tensor([[2.0], [0.5]])
    mixed, normed = mixed_and_normed(stream, embedded, mix.expand(2, 8), 0.25)
    assert torch.allclose(mixed, 2 * stream + 0.5 * embedded)
    assert torch.allclose(normed.square().mean(-1).sqrt(), torch.full((3,), 0.25))


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("shape", [(5, 16), (3, 600), (1100, 24)])
def test_outputs_and_gradients_are_the_references(device, shape, dtype):
    torch.manual_seed(0)
    inputs = [
        torch.randn(size, dtype=torch.float64, device=device)
        for size in (shape, shape, (2, shape[1]))
    ]
    fused = partial(fused_mixed_and_normed, scale=0.5, norm_type=dtype)
    assert_matches_reference(fused, partial(mixed_and_normed, scale=0.5), inputs, dtype)


def test_mixes_that_nobody_asks_for_are_not_summed(device):
    inputs = [
        torch.randn(size, dtype=torch.float64, device=device)
        for size in ((5, 16), (5, 16), (2, 16))
    ]
    fused = partial(fused_mixed_and_normed, scale=0.5, norm_type=torch.float32)
    calls = backward_calls(fused, partial(mixed_and_normed, scale=0.5), inputs)
    assert len(calls) == 7 and all(calls[asked]["sum"] == asked[2] for asked in calls)
