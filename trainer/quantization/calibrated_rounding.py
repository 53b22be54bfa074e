"""A model's tensors in their stored form, rounded as calibration says."""

from collections.abc import Mapping

from torch import Tensor

from trainer.errors import TrainerError
from trainer.quantization.fine_columns import (
    COLUMNS,
    FINE_BITS,
    finest_columns,
    put_columns_back,
    with_fine_columns,
)
from trainer.quantization.gptq import (
    coarse_steps,
    gptq_codes,
    nearest_codes,
    row_grid,
    sigma_steps,
)
from trainer.quantization.low_rank import add_low_rank_parts, low_rank_parts
from trainer.quantization.rounding import (
    StoredTensor,
    code_bits,
    dequantize_state,
    is_rounded,
    store_tensor,
)
from trainer.recipe import QuantizationOptions

Hessians = Mapping[str, Tensor]  # name of a matrix (R, C) → (C, C) fp32


def quantize_calibrated(
    state: Mapping[str, Tensor], hessians: Hessians, options: QuantizationOptions
) -> dict[str, StoredTensor]:
    """Store a model's tensors; large matrices as GPTQ codes on SDClip grids.

    A matrix without a Hessian is no linear layer's but a table: its rows are rounded to nearest.

    Raises:
        TrainerError: a matrix is not finite.
    """
    matrices = {n: t.detach() for n, t in state.items() if is_rounded(n, t, options)}
    fine: dict[str, list[slice]] = {}
    if options.awq_lite_enabled:
        coarse = {n: m for n, m in matrices.items() if code_bits(n, options) < FINE_BITS}
        fine = finest_columns(coarse, hessians, options)
    stored: dict[str, StoredTensor] = {}
    errors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name not in matrices:
            stored[name] = store_tensor(name, tensor.detach().cpu(), options)
            continue
        parts = round_matrix(name, tensor, hessians.get(name), fine.get(name, []), options)
        stored |= parts
        if options.lqer_enabled:
            errors[name] = tensor.float().cpu() - restore_calibrated(parts, options)[name].float()
    if options.lqer_enabled:
        stored |= low_rank_parts(errors, options)
    return stored


def round_matrix(
    name: str,
    matrix: Tensor,  # (R, C)
    hessian: Tensor | None,  # (C, C)
    fine: list[slice],  # columns that get more bits
    options: QuantizationOptions,
) -> dict[str, StoredTensor]:
    """One matrix: its codes, and those of fine columns apart.

    Raises:
        TrainerError: weights, inputs or steps are no numbers, which no factorization survives.
    """
    bits, sigmas = code_bits(name, options), clip_sigmas(name, options)
    step, fine_step = (
        coarse_steps(sigma_steps(matrix, width, sigmas), options.step_mantissa_bits)
        for width in (bits, FINE_BITS)
    )
    if not all(bool(part.isfinite().all()) for part in (step, hessian) if part is not None):
        raise TrainerError(
            f"{name}: weights or their inputs are not finite, trained to no number or beyond fp16; "
            "lower the learning rates, or clip gradients"
        )
    grid = row_grid(step, bits)
    if fine:
        grid = with_fine_columns(grid, fine_step, matrix.size(1), fine)
    codes = nearest_codes(matrix, grid) if hessian is None else gptq_codes(matrix, hessian, grid)
    codes = codes.cpu()
    parts = {}
    for columns in fine:
        parts[f"{name}{COLUMNS}{columns.start}"] = StoredTensor(
            values=codes[:, columns].clone(), scale=fine_step.cpu(), dtype=matrix.dtype
        )
        codes[:, columns] = 0
    parts[name] = StoredTensor(values=codes, scale=step.cpu(), dtype=matrix.dtype, bits=bits)
    return parts


def clip_sigmas(name: str, options: QuantizationOptions) -> float:
    """After how many standard deviations a matrix's grids end."""
    if name.startswith("tok_emb"):
        return options.embed_clip_sigmas
    own = 0.0
    if ".mlp." in name:
        own = options.mlp_clip_sigmas
    if ".attn." in name:
        own = options.attn_clip_sigmas
    return own or options.matrix_clip_sigmas


def restore_calibrated(
    stored: Mapping[str, StoredTensor], options: QuantizationOptions
) -> dict[str, Tensor]:
    """The tensors that the stored ones stand for, with all that is stored apart put back."""
    state = dequantize_state(stored)
    if options.awq_lite_enabled:
        put_columns_back(state)
    if options.lqer_enabled:
        add_low_rank_parts(state)
    return state
