"""Outputs and every gradient of a kernel beside those of its reference in float64."""

from collections.abc import Callable

import torch
from torch import Tensor

# ‖seen - expected‖ / ‖expected‖. fp32: many roundings of 2^-24, added up; bf16: a few of 2^-9.
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


def assert_matches_reference(
    kernel: Callable[..., object],
    reference: Callable[..., object],
    inputs: list[Tensor],  # float64 on the device; whole numbers as they are
    dtype: torch.dtype,
) -> None:
    """Both on the same inputs, rounded to a type first, and the same upstream gradients."""
    rounded = [tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in inputs]
    seen = outputs_and_gradients(kernel, rounded)
    wide = [t.double() if t.is_floating_point() else t for t in rounded]
    expected = outputs_and_gradients(reference, wide)
    assert len(seen) == len(expected) > 1
    for number, (one, other) in enumerate(zip(seen, expected, strict=True)):
        assert one.shape == other.shape
        assert relative_error(one, other) < TOLERANCES[dtype], f"result {number}"


def relative_error(seen: Tensor, expected: Tensor) -> float:
    """Infinite where something is no number."""
    error = (seen.double() - expected).norm() / expected.norm().clamp_min(1e-12)
    return error.nan_to_num(torch.inf).item()


def outputs_and_gradients(function: Callable[..., object], inputs: list[Tensor]) -> list[Tensor]:
    leaves = [t.clone().requires_grad_(t.is_floating_point()) for t in inputs]
    outputs = function(*leaves)
    outputs = list(outputs) if isinstance(outputs, tuple) else [outputs]
    random = torch.Generator().manual_seed(7)
    upstream = [
        torch.randn(o.shape, generator=random).bfloat16().to(o.device, o.dtype) for o in outputs
    ]
    torch.autograd.backward(outputs, upstream)
    return [o.detach() for o in outputs] + [t.grad for t in leaves if t.requires_grad]
