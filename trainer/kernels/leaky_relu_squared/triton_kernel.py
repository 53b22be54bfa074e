# mypy: disable-error-code="name-defined, valid-type"
"""Two matrix products with the activation in the epilogue of the first (#1105, #1530).

    w = x Wᵀ    h = leaky(w)²    y = h Vᵀ        dh/dw = 2w above zero, 2 slope² w below

Forward, one kernel writes w and h; backward, the same kernel turns (dy V) into dw on its way to
memory. The other four products are plain ones. A gradient that nobody asks for is not computed and
keeps nothing: with both matrices frozen, as in test-time training, two products of the backward
pass are left of four, and x and h need not be kept.

Floor, forward and backward: 6 products of 2NCH operations. What fusing saves is traffic: one read
of w forward, one write and one read of dy V backward, 6NH bytes in bf16. At 98,304 x 512 x 2,048 a
layer has 1.2 TFLOP, 2.0 ms at 607 TFLOP/s (cuBLAS on an H100), and saves 1.2 GB, 0.4 ms at
3 TB/s. The two products of the kernel must therefore not be much slower than those of cuBLAS.

N tokens, C channels, H hidden channels.
"""

import torch
from torch import Tensor

from trainer.kernels.triton_jit import Saved, jit, load_wide, store_narrow, tl

# Tiles small enough for two programs on a processor, one computing while the other writes; with
# its 139 registers a thread the backward pass still leaves room for one alone.
TILE_ROWS, TILE_COLUMNS = 128, 128  # of an output tile
TILE_INNER_BYTES = 128  # of a row of either input's tile
TILE_WARPS, TILE_STAGES = 8, 3


def fused_feed_forward(
    inputs: Tensor,  # (N, C)
    widen: Tensor,  # (H, C) of the same type
    narrow: Tensor,  # (C, H) of the same type
    slope: float,
) -> Tensor:  # (N, C)
    """leaky_relu(inputs widenᵀ)² narrowᵀ, differentiable."""
    outputs: Tensor = _FusedFeedForward.apply(  # type: ignore[no-untyped-call]
        inputs.contiguous(), widen, narrow, slope
    )
    return outputs


class _FusedFeedForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Saved, inputs: Tensor, widen: Tensor, narrow: Tensor, slope: float) -> Tensor:
        wide = inputs.new_empty(inputs.size(0), widen.size(0))
        hidden = torch.empty_like(wide)
        _product_and_square(inputs, widen.T, (wide, hidden), slope, is_backward=False)
        wants_inputs, wants_widen, wants_narrow, _ = ctx.needs_input_grad
        ctx.save_for_backward(
            inputs if wants_widen else None,
            widen if wants_inputs else None,
            narrow,
            wide if wants_inputs or wants_widen else None,
            hidden if wants_narrow else None,
        )
        ctx.number = slope
        return hidden @ narrow.T

    @staticmethod
    def backward(
        ctx: Saved,
        upstream: Tensor,  # (N, C)
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        inputs, widen, narrow, wide, hidden = ctx.saved_tensors
        wants_inputs, wants_widen, wants_narrow, _ = ctx.needs_input_grad
        upstream = upstream.contiguous()
        to_inputs, to_widen, to_narrow = None, None, None
        if wants_inputs or wants_widen:
            to_wide = torch.empty_like(wide)
            _product_and_square(upstream, narrow, (wide, to_wide), ctx.number, is_backward=True)
            to_inputs = to_wide @ widen if wants_inputs else None
            to_widen = to_wide.T @ inputs if wants_widen else None
        if wants_narrow:
            to_narrow = upstream.T @ hidden
        return to_inputs, to_widen, to_narrow, None


def _product_and_square(
    left: Tensor,  # (N, C) contiguous
    right: Tensor,  # (C, H)
    outputs: tuple[Tensor, Tensor],  # (N, H) each, contiguous
    slope: float,
    *,
    is_backward: bool,
) -> None:
    """Write left right and its activation; or left right times the activation's derivative.

    Backward, the first of the outputs is the argument of the activation, and only read.
    """
    (num_rows, num_inner), num_columns = left.shape, right.size(1)
    wide, written = outputs
    tiles = (-(-num_rows // TILE_ROWS), -(-num_columns // TILE_COLUMNS))
    _matmul_leaky_relu_squared[(tiles[0] * tiles[1],)](
        left,
        right,
        wide,
        written,
        slope,
        num_rows,
        num_columns,
        num_inner,
        right.stride(0),
        right.stride(1),
        is_backward,
        TILE_ROWS,
        TILE_COLUMNS,
        TILE_INNER_BYTES // left.element_size(),
        num_warps=TILE_WARPS,
        num_stages=TILE_STAGES,
    )


@jit
def _matmul_leaky_relu_squared(
    left: tl.pointer_type,
    right: tl.pointer_type,
    wide: tl.pointer_type,
    written: tl.pointer_type,
    slope: tl.constexpr,
    num_rows: int,
    num_columns: tl.constexpr,
    num_inner: tl.constexpr,
    right_inner_stride: tl.constexpr,
    right_column_stride: tl.constexpr,
    is_backward: tl.constexpr,
    block_rows: tl.constexpr,
    block_columns: tl.constexpr,
    block_inner: tl.constexpr,
) -> None:
    # Neighbours share rows of the left side; all of the right side stays in the cache.
    num_column_blocks: tl.constexpr = (num_columns + block_columns - 1) // block_columns
    row_block = tl.program_id(0) // num_column_blocks
    rows = row_block * block_rows + tl.arange(0, block_rows)
    columns = tl.program_id(0) % num_column_blocks * block_columns + tl.arange(0, block_columns)
    is_row, is_column = rows < num_rows, columns < num_columns
    inner = tl.arange(0, block_inner)
    row_starts = left + rows.to(tl.int64)[:, None] * num_inner
    column_starts = right + columns[None, :] * right_column_stride
    total = tl.zeros((block_rows, block_columns), dtype=tl.float32)
    for start in range(0, num_inner, block_inner):
        places = start + inner
        is_inner = places < num_inner
        own = tl.load(row_starts + places[None, :], is_row[:, None] & is_inner[None, :], 0.0)
        other = tl.load(
            column_starts + places[:, None] * right_inner_stride,
            is_inner[:, None] & is_column[None, :],
            0.0,
        )
        total = tl.dot(own, other, total, input_precision="ieee")
    is_inside = is_row[:, None] & is_column[None, :]
    targets = rows.to(tl.int64)[:, None] * num_columns + columns[None, :]
    if is_backward:
        argument = load_wide(wide + targets, is_inside)
        factor = tl.where(argument > 0, 2.0, 2.0 * slope * slope)
        store_narrow(written + targets, total * factor * argument, is_inside)
    else:
        bent = tl.where(total > 0, total, slope * total)
        store_narrow(wide + targets, total, is_inside)
        store_narrow(written + targets, bent * bent, is_inside)
