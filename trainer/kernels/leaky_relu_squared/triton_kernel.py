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
3 TB/s. The two products of the kernel must therefore not be much slower than those of cuBLAS: they
compute for 0.31 ms and move memory for 0.3 ms, and take 0.47 and 0.48 where one hides the other.
For that whole tiles are moved by Hopper's copy engine, which takes no registers and clips edges,
and every program makes many: forward, what the next tile needs comes while this one is written.

N tokens, C channels, H hidden channels.
"""

import torch
from torch import Tensor

from trainer.kernels.triton_jit import Saved, jit, matrix_of_tiles, num_processors, tl

# Tiles small enough for two programs on a processor, one computing while the other writes.
TILE_ROWS, TILE_COLUMNS = 128, 128  # of an output tile
TILE_INNER_BYTES = 128  # of a row of either input's tile
TILE_WARPS, TILE_STAGES = 4, 3
PROGRAMS_PER_PROCESSOR = 2


def fused_feed_forward(
    inputs: Tensor,  # (N, C)
    widen: Tensor,  # (H, C) of the same type
    narrow: Tensor,  # (C, H) of the same type
    slope: float,
) -> Tensor:  # (N, C)
    """leaky_relu(inputs widenᵀ)² narrowᵀ, differentiable; C and H fill multiples of 16 bytes."""
    outputs: Tensor = _FusedFeedForward.apply(  # type: ignore[no-untyped-call]
        inputs.contiguous(), widen.contiguous(), narrow.contiguous(), slope
    )
    return outputs


class _FusedFeedForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Saved, inputs: Tensor, widen: Tensor, narrow: Tensor, slope: float) -> Tensor:
        wide = inputs.new_empty(inputs.size(0), widen.size(0))
        hidden = torch.empty_like(wide)
        _product_and_square(inputs, widen, (wide, hidden), slope, is_backward=False)
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
    left: Tensor,  # (N, C)
    right: Tensor,  # (H, C) forward, (C, H) backward
    outputs: tuple[Tensor, Tensor],  # (N, H) each
    slope: float,
    *,
    is_backward: bool,
) -> None:
    """Write left rightᵀ and its activation; or left right times the activation's derivative.

    Backward, the first of the outputs is the argument of the activation, and only read.
    All matrices are contiguous.
    """
    wide, written = outputs
    num_rows, num_columns = wide.shape
    num_tiles = -(-num_rows // TILE_ROWS) * -(-num_columns // TILE_COLUMNS)
    num_programs = min(num_tiles, PROGRAMS_PER_PROCESSOR * num_processors(left))
    inner = TILE_INNER_BYTES // left.element_size()
    half_a_tile = (TILE_ROWS, TILE_COLUMNS // 2)
    _matmul_leaky_relu_squared[(num_programs,)](
        matrix_of_tiles(left, TILE_ROWS, inner),
        matrix_of_tiles(right, *((inner, TILE_COLUMNS) if is_backward else (TILE_COLUMNS, inner))),
        matrix_of_tiles(wide, *half_a_tile),
        matrix_of_tiles(written, *half_a_tile),
        slope,
        num_rows,
        num_columns,
        left.size(1),
        is_backward,
        TILE_ROWS,
        TILE_COLUMNS,
        inner,
        num_warps=TILE_WARPS,
        num_stages=TILE_STAGES,
    )


@jit
def _matmul_leaky_relu_squared(
    left: tl.tensor_descriptor,
    right: tl.tensor_descriptor,
    wide: tl.tensor_descriptor,
    written: tl.tensor_descriptor,
    slope: tl.constexpr,
    num_rows: int,
    num_columns: tl.constexpr,
    num_inner: tl.constexpr,
    is_backward: tl.constexpr,
    block_rows: tl.constexpr,
    block_columns: tl.constexpr,
    block_inner: tl.constexpr,
) -> None:
    # Neighbours share rows of the left side; all of the right side stays in the cache.
    num_column_blocks: tl.constexpr = (num_columns + block_columns - 1) // block_columns
    num_tiles = tl.cdiv(num_rows, block_rows) * num_column_blocks
    # Backward, the argument of the activation is waited for: one loop of two gains nothing there.
    for tile in tl.range(tl.program_id(0), num_tiles, tl.num_programs(0), flatten=not is_backward):
        row, column = (
            tile // num_column_blocks * block_rows,
            tile % num_column_blocks * block_columns,
        )
        total = tl.zeros((block_rows, block_columns), dtype=tl.float32)
        for start in range(0, num_inner, block_inner):
            own = left.load([row, start])
            if is_backward:
                other = right.load([start, column])
            else:
                other = right.load([column, start]).T
            total = tl.dot(own, other, total, input_precision="ieee")
        # Half by half, so that less of the shared memory is kept for what goes out.
        halves = total.reshape(block_rows, 2, block_columns // 2).permute(0, 2, 1)
        first, second = halves.split()
        _finish(first, wide, written, row, column, slope, is_backward)
        _finish(second, wide, written, row, column + block_columns // 2, slope, is_backward)


@jit
def _finish(
    total: tl.tensor,
    wide: tl.tensor_descriptor,
    written: tl.tensor_descriptor,
    row: int,
    column: int,
    slope: tl.constexpr,
    is_backward: tl.constexpr,
) -> None:
    if is_backward:
        argument = wide.load([row, column]).to(tl.float32)
        factor = tl.where(argument > 0, 2.0, 2.0 * slope * slope)
        written.store([row, column], (total * factor * argument).to(written.dtype))
    else:
        bent = tl.where(total > 0, total, slope * total)
        wide.store([row, column], total.to(wide.dtype))
        written.store([row, column], (bent * bent).to(written.dtype))
