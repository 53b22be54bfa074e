from functools import partial

import pytest
import torch
from assert_matches_reference import TOLERANCES, assert_matches_reference, backward_calls

from trainer.kernels.leaky_relu_squared import triton_kernel
from trainer.kernels.leaky_relu_squared.reference import feed_forward
from trainer.kernels.leaky_relu_squared.triton_kernel import fused_feed_forward


def test_the_reference_squares_and_shrinks_what_is_below_zero():
    inputs, ones = torch.tensor([[3.0], [-3.0]]), torch.ones(1, 1)
    assert feed_forward(inputs, ones, ones, 0.5).flatten().tolist() == [9.0, 2.25]


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("slope", [0.5, 0.0])
@pytest.mark.parametrize("shape", [(5, 16, 32), (130, 40, 264), (300, 136, 24)])
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


SHAPES = {"inputs": (5, 8), "widen": (16, 8), "narrow": (8, 16)}


def test_a_gradient_that_nobody_asks_for_takes_no_product_and_no_kernel(device, monkeypatch):
    launches = []

    def counted(*args, is_backward):
        launches.append(is_backward)
        return launch(*args, is_backward=is_backward)

    launch = triton_kernel._product_and_square
    monkeypatch.setattr(triton_kernel, "_product_and_square", counted)
    inputs = [torch.randn(s, dtype=torch.float64, device=device) for s in SHAPES.values()]
    fused, plain = partial(fused_feed_forward, slope=0.5), partial(feed_forward, slope=0.5)
    calls = backward_calls(fused, plain, inputs)
    assert len(calls) == 7
    assert all(calls[asked]["mm"] == sum(asked) for asked in calls)
    assert sum(launches) == sum(asked[0] or asked[1] for asked in calls)


def test_with_frozen_matrices_neither_inputs_nor_activations_are_kept(device):
    inputs = [torch.randn(shape, device=device) for shape in SHAPES.values()]
    inputs[0].requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda tensor: tensor):
        fused_feed_forward(*inputs, slope=0.5)
    assert sorted(tuple(tensor.shape) for tensor in kept) == [(5, 16), (8, 16), (16, 8)]
