from functools import partial

import pytest
import torch
from assert_matches_reference import TOLERANCES, assert_matches_reference

from trainer.kernels.leaky_relu_squared.reference import feed_forward
from trainer.kernels.leaky_relu_squared.triton_kernel import fused_feed_forward


def test_the_reference_squares_and_shrinks_what_is_below_zero():
    inputs, ones = torch.tensor([[3.0], [-3.0]]), torch.ones(1, 1)
    assert feed_forward(inputs, ones, ones, 0.5).flatten().tolist() == [9.0, 2.25]


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("slope", [0.5, 0.0])
@pytest.mark.parametrize("shape", [(5, 16, 32), (130, 40, 264), (3, 130, 24)])
def test_outputs_and_gradients_are_the_references(device, shape, slope, dtype):
    if dtype == torch.bfloat16 and device.type == "cpu":
        pytest.skip("Triton's interpreter multiplies matrices of bf16 as if of whole numbers")
    num_tokens, num_channels, num_hidden = shape
    torch.manual_seed(0)
    inputs = [
        torch.randn(num_tokens, num_channels, dtype=torch.float64, device=device),
        torch.randn(num_hidden, num_channels, dtype=torch.float64, device=device),
        torch.randn(num_channels, num_hidden, dtype=torch.float64, device=device),
    ]
    fused, plain = partial(fused_feed_forward, slope=slope), partial(feed_forward, slope=slope)
    assert_matches_reference(fused, plain, inputs, dtype)
