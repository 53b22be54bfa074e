"""Outputs and every gradient of a kernel beside those of its reference in float64."""

from collections import Counter
from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

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
    outputs, upstream = forward(function, leaves)
    torch.autograd.backward(outputs, upstream)
    return [output.detach() for output in outputs] + [t.grad for t in leaves if t.requires_grad]


def forward(
    function: Callable[..., object], leaves: list[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """The outputs, and a gradient for each that a backward pass may begin with."""
    outputs = function(*leaves)
    outputs = list(outputs) if isinstance(outputs, tuple) else [outputs]
    random = torch.Generator().manual_seed(7)
    return outputs, [
        torch.randn(o.shape, generator=random).bfloat16().to(o.device, o.dtype) for o in outputs
    ]


def after_backward(
    function: Callable[..., object], leaves: list[Tensor]
) -> tuple[list[Tensor], Counter[str]]:
    """The outputs, and what the backward pass called of PyTorch; gradients are at the leaves."""
    outputs, upstream = forward(function, leaves)
    pairs = [pair for pair in zip(outputs, upstream, strict=True) if pair[0].requires_grad]
    with Calls() as calls:
        torch.autograd.backward(*zip(*pairs, strict=True))
    return [output.detach() for output in outputs], calls.numbers


class Calls(TorchDispatchMode):
    """Counts what is called of PyTorch: "mm" for a product of matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        self.numbers[function.overloadpacket.__name__] += 1
        return function(*args, **(kwargs or {}))


def backward_calls(
    kernel: Callable[..., object],
    reference: Callable[..., object],
    inputs: list[Tensor],  # float64 on the device; whole numbers as they are
) -> dict[tuple[bool, ...], Counter[str]]:
    """What backward passes call of PyTorch, by which inputs ask for a gradient.

    Sees to it that those get the reference's, and the others none.
    """
    seen = {}
    floating = [tensor.is_floating_point() for tensor in inputs]
    for asked in product(*((False, True) if is_floating else (False,) for is_floating in floating)):
        if not any(asked):
            continue
        narrow = [t.float() if t.is_floating_point() else t.clone() for t in inputs]
        wide = [t.double() if t.is_floating_point() else t for t in narrow]
        for leaves in (narrow, wide):
            for leaf, is_asked in zip(leaves, asked, strict=True):
                leaf.requires_grad_(is_asked)
        _, seen[asked] = after_backward(kernel, narrow)
        after_backward(reference, wide)
        for one, other in zip(narrow, wide, strict=True):
            assert (one.grad is None) == (other.grad is None)
            assert one.grad is None or relative_error(one.grad, other.grad) < 1e-5
    return seen
