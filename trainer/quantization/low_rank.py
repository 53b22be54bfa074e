"""The largest rounding errors, put back in part as products of two thin matrices (LQER, #1851).

An error E (R, C) is kept as L · M: its first singular vectors, L (R, K) in two bits with one step
for all of it, M (K, C) in four bits with a step for each group. Both stand in the artifact beside
the codes, as `<name>:left` and `<name>:right`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from trainer.quantization.rounding import SMALLEST_STEP, StoredTensor
from trainer.recipe import QuantizationOptions

LEFT = ":left"
RIGHT = ":right"
LEFT_BITS = 2
RIGHT_BITS = 4


def low_rank_parts(
    errors: Mapping[str, Tensor],  # name → (R, C) fp32, what rounding took from the matrix
    options: QuantizationOptions,
) -> dict[str, StoredTensor]:
    """What is stored for the matrices with the largest errors."""
    rank, group = options.lqer_rank, options.lqer_asym_group
    fitting = [
        n for n, e in errors.items() if min(e.shape) >= rank and rank * e.size(1) % group == 0
    ]
    largest = sorted(fitting, key=lambda name: -float(errors[name].norm()))
    parts: dict[str, StoredTensor] = {}
    for name in largest[: options.lqer_top_k]:
        left, right = thin_factors(errors[name], rank)
        parts[name + LEFT] = store_asymmetric(left.reshape(1, -1), LEFT_BITS)
        parts[name + RIGHT] = store_asymmetric(right.reshape(-1, group), RIGHT_BITS)
    return parts


def thin_factors(error: Tensor, rank: int) -> tuple[Tensor, Tensor]:  # (R, K), (K, C)
    """The product of this rank that comes nearest to the error (Eckart and Young)."""
    left, sizes, right = torch.linalg.svd(error, full_matrices=False)
    return left[:, :rank] * sizes[:rank], right[:rank]


def store_asymmetric(
    rows: Tensor,  # (R, C) fp32
    bits: int,
) -> StoredTensor:
    """Codes from -2^(bits - 1) to 2^(bits - 1) - 1, the largest value of a row half a step beyond.

    Steps are the row's largest absolute value over 2^(bits - 1) - 1/2: 1.5 for two bits, 7.5 for
    four, as in #1851.
    """
    half = 1 << bits - 1
    step = (rows.abs().amax(dim=1) / (half - 0.5)).half().clamp_min(SMALLEST_STEP)
    codes = (rows / step.float()[:, None]).round().clamp(-half, half - 1).to(torch.int8)
    return StoredTensor(values=codes.cpu(), scale=step.cpu(), dtype=torch.float32, bits=bits)


def add_low_rank_parts(state: dict[str, Tensor]) -> None:
    """Take the restored factors out of a state and add their products to their matrices."""
    for name in [name.removesuffix(LEFT) for name in state if name.endswith(LEFT)]:
        left, right, matrix = state.pop(name + LEFT), state.pop(name + RIGHT), state[name]
        product = left.view(matrix.size(0), -1) @ right.view(-1, matrix.size(1))
        state[name] = (matrix.float() + product).to(matrix.dtype)
