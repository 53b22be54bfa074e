# mypy: disable-error-code="name-defined, valid-type"
"""Triton where it is installed; elsewhere kernels are plain functions that nothing calls.

Every kernel reads and writes whatever floating-point type its tensors have, and computes in fp32;
its numbers are constants: torch.compile hands others over in fp64, and all that they meet follows.
A function that kernels call returns places or what lies there, never both: torch.compile looks at a
call as a whole, takes what is read for written where places come out with it, and copies it first.
"""

import importlib.util
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Protocol

import torch
from torch import Tensor

triton: Any = importlib.import_module("triton") if importlib.util.find_spec("triton") else None
TensorDescriptor: Any = (
    importlib.import_module("triton.tools.tensor_descriptor").TensorDescriptor if triton else None
)
# What the annotations of kernels name must be there all the same.
tl: Any = (
    triton.language
    if triton
    else SimpleNamespace(
        **dict.fromkeys(("pointer_type", "constexpr", "tensor", "tensor_descriptor"), object)
    )
)


class Kernel(Protocol):
    """A function in Triton's language: kernel[grid](…) launches it."""

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        """For that many programs."""


class Saved(Protocol):
    """What an autograd function keeps from its forward pass for its backward pass."""

    saved_tensors: tuple[Tensor, ...]
    number: float  # one that is no tensor
    needs_input_grad: tuple[bool, ...]  # of what it was called with: whose gradient is asked for

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors; None in the place of one that will not be needed."""


def jit(function: Callable[..., Any]) -> Any:  # noqa: ANN401 - launched as kernel[grid](…)
    """A function in Triton's language as a kernel; torch.compile keeps the argument `stream`."""
    return triton.jit(function) if triton else function


def runs_kernels(tensor: Tensor) -> bool:
    """Whether Triton can work on a tensor: on a GPU where it is installed."""
    return triton is not None and tensor.is_cuda


def moves_tiles(tensor: Tensor) -> bool:
    """Whether kernels may take a tensor by tiles: on a GPU with a copy engine, from Hopper on."""
    return runs_kernels(tensor) and torch.cuda.get_device_properties(tensor.device).major >= 9


def num_processors(tensor: Tensor) -> int:
    """Of a tensor's GPU; 1 elsewhere."""
    if not tensor.is_cuda:
        return 1
    return torch.cuda.get_device_properties(tensor.device).multi_processor_count


def matrix_of_tiles(matrix: Tensor, num_rows: int, num_columns: int) -> Any:  # noqa: ANN401
    """A contiguous matrix that kernels load and store in tiles of one size, clipped at its edges.

    Its rows are multiples of 16 bytes: the copy engine takes no others.
    """
    return TensorDescriptor.from_tensor(matrix, [num_rows, num_columns])


def next_power_of_2(number: int) -> int:
    """The least power of 2 that is not below a positive number; blocks have such sizes."""
    return 1 << (number - 1).bit_length()


@jit
def load_wide(places: tl.tensor, is_inside: tl.tensor) -> tl.tensor:
    """Elements in fp32, zeros outside; for kernels."""
    return tl.load(places, is_inside, 0.0).to(tl.float32)


@jit
def store_narrow(places: tl.tensor, values: tl.tensor, is_inside: tl.tensor) -> None:
    """Values rounded to the type of where they go; for kernels."""
    tl.store(places, values.to(places.dtype.element_ty), is_inside)
