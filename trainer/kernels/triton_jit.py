"""Triton where it is installed; elsewhere kernels are plain functions that nothing calls."""

import importlib.util
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from torch import Tensor

triton: Any = importlib.import_module("triton") if importlib.util.find_spec("triton") else None
# What the annotations of kernels name must be there all the same.
tl: Any = triton.language if triton else SimpleNamespace(pointer_type=object, constexpr=object)


def jit(function: Callable[..., None]) -> Any:  # noqa: ANN401 - launched as kernel[grid](…)
    """A function in Triton's language as a kernel."""
    return triton.jit(function) if triton else function


def runs_kernels(tensor: Tensor) -> bool:
    """Whether Triton can work on a tensor: on a GPU where it is installed."""
    return triton is not None and tensor.is_cuda


def next_power_of_2(number: int) -> int:
    """The least power of 2 that is not below a positive number; blocks have such sizes."""
    return 1 << (number - 1).bit_length()
