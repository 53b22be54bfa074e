"""Rounding whose later columns make up for the errors of earlier ones (GPTQ, arXiv 2210.17323).

A layer's outputs change by (W - Q) X when its weights W become Q, and the squares of that add up
to the trace of (W - Q) H (W - Q)' with H = X X', the layer's Hessian. Rows do not see each other;
within a row, what rounding one column does to the outputs the columns after it can partly undo.

R rows, C columns, B columns of a block.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.quantization.rounding import SMALLEST_STEP, max_code

DAMPING = 0.01  # of the mean diagonal, added to it: the public scripts' (#1019 on)
BLOCK_COLUMNS = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """The values that weights may take: a step times a whole number up to the largest."""

    steps: Tensor  # (R, 1) fp32, or (R, C) where columns differ
    largest: Tensor  # (1,) or (C,) fp32


def row_grid(step: Tensor, bits: int) -> Grid:  # (R,)
    """A step for each row, codes of so many bits."""
    return Grid(steps=step.float()[:, None], largest=step.new_tensor([max_code(bits)]).float())


def sigma_steps(
    matrix: Tensor,  # (R, C)
    bits: int,
    clip_sigmas: float,
) -> Tensor:  # (R,) fp16
    """Steps with which codes end at so many standard deviations of their row (SDClip, #1394).

    Fewer deviations make finer steps, and codes that carry more bits: `size_law.py`.
    """
    step = clip_sigmas * matrix.float().std(dim=1) / max_code(bits)
    return step.half().clamp_min(SMALLEST_STEP)


def coarse_steps(step: Tensor, mantissa_bits: int) -> Tensor:  # (R,) fp16 → (R,) fp16
    """Steps with fewer digits, which compress: most of what an fp16 step takes is its last bits.

    With four bits a step is up to 3 % off, to either side: as finer ones make up for coarser ones,
    the errors that codes make grow by less than 0.1 %. 0 leaves all ten.
    """
    if mantissa_bits == 0:
        return step
    mantissa, exponent = step.float().frexp()  # from 1/2 to 1
    whole = (mantissa * 2.0 ** (mantissa_bits + 1)).round()
    return torch.ldexp(whole, exponent - mantissa_bits - 1).half()


def nearest_codes(matrix: Tensor, grid: Grid) -> Tensor:  # (R, C) → (R, C) int8
    """Each weight at the nearest value of its grid."""
    codes = (matrix.float() / grid.steps).round()
    return codes.clamp(-grid.largest, grid.largest).to(torch.int8)


def gptq_codes(
    matrix: Tensor,  # (R, C)
    hessian: Tensor,  # (C, C)
    grid: Grid,
) -> Tensor:  # (R, C) int8
    """Codes whose rows do no more to the layer's outputs than the nearest ones.

    Compensation is greedy, so that now and then the nearest codes do better; rows for which they
    do keep them.
    """
    nearest = nearest_codes(matrix, grid)
    compensated = compensated_codes(matrix.float(), hessian.float(), grid)
    errors = [output_error(matrix, hessian, codes, grid) for codes in (compensated, nearest)]
    return torch.where((errors[0] <= errors[1])[:, None], compensated, nearest)


def output_error(
    matrix: Tensor,  # (R, C)
    hessian: Tensor,  # (C, C)
    codes: Tensor,  # (R, C) int8
    grid: Grid,
) -> Tensor:  # (R,)
    """What rounding does to the squares of the layer's outputs, row by row: e H e'."""
    error = matrix.float() - codes.float() * grid.steps
    return ((error @ hessian.float()) * error).sum(dim=1)


def compensated_codes(
    matrix: Tensor,  # (R, C) fp32
    hessian: Tensor,  # (C, C) fp32
    grid: Grid,
) -> Tensor:  # (R, C) int8
    """Round column by column, most used inputs first, and spread each error over those to come.

    With U'U the inverse of the Hessian, U upper triangular, an error e in column j is taken up by
    the later columns as e U[j, j+1:] / U[j, j]. Columns are done in blocks: within one at once,
    beyond it when the block is done.
    """
    order = hessian.diagonal().argsort(descending=True, stable=True)
    factor = inverse_factor(hessian[order][:, order])
    steps = grid.steps.expand_as(matrix).T[order]
    largest = grid.largest.expand(len(order))[order]
    weights = matrix.T[order].contiguous()  # (C, R): a column of the matrix is a row here
    codes = torch.empty_like(weights, dtype=torch.int8)
    errors = torch.empty_like(weights)
    for start in range(0, len(order), BLOCK_COLUMNS):
        stop = min(start + BLOCK_COLUMNS, len(order))
        for column in range(start, stop):
            step, end = steps[column], largest[column]
            code = (weights[column] / step).round().clamp(-end, end)
            codes[column] = code.to(torch.int8)
            errors[column] = (weights[column] - code * step) / factor[column, column]
            after = slice(column + 1, stop)
            weights[after].addr_(factor[column, after], errors[column], alpha=-1.0)
        weights[stop:].addmm_(factor[start:stop, stop:].T, errors[start:stop], alpha=-1.0)
    in_place = torch.empty_like(codes)
    in_place[order] = codes
    return in_place.T.contiguous()


def inverse_factor(hessian: Tensor) -> Tensor:  # (C, C) → (C, C) fp32, upper triangular
    """U with U'U the inverse of the damped Hessian; an input that is never on counts by itself.

    In fp64: the Hessian of few tokens is near to singular.
    """
    damped = hessian.double()
    diagonal = damped.diagonal()
    diagonal[diagonal == 0] = 1.0
    diagonal += DAMPING * diagonal.mean()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    factor: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return factor.float()
