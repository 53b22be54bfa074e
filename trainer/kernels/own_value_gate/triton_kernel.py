# mypy: disable-error-code="name-defined, valid-type"
"""XSA and gate in one pass over what attention gathered.

With s = |v|² and a = y · v / s the output is f (y - a v): no unit vector is made. Backward, with
g = f do and b = g · v / s: dy = g - b v, dv = - Σ (a g + b y - 2 a b v) over the heads that share
the value, df = do · (y - a v).

Floor, in elements: forward reads y, v and writes one y; backward reads y, v, do and writes two of
them. 98,304 tokens of 8 heads of 64 on 4 values in bf16: 0.25 and 0.40 GB, 0.08 and 0.13 ms at 3
TB/s; some 10 operations an element.

B batch, T tokens, H query heads, K key-value heads, D channels of a head.
"""

from typing import Any

import torch
from torch import Tensor

from trainer.kernels.triton_jit import jit, next_power_of_2, tl

BLOCK_TOKENS_XSA = 32  # of one value's heads in one program
SMALLEST_SQUARE = 1e-24  # of a value's length, as in torch.nn.functional.normalize


def fused_gated_without_own_value(
    gathered: Tensor,  # (B, T, H, D)
    values: Tensor,  # (B, T, K, D)
    factors: Tensor,  # (B, T, H)
) -> Tensor:  # (B, T, H, D)
    """Each head less what points along its own value, times its factor; differentiable."""
    gated: Tensor = _GatedWithoutOwnValue.apply(gathered, values, factors)  # type: ignore[no-untyped-call]
    return gated


class _GatedWithoutOwnValue(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        gathered: Tensor,
        values: Tensor,
        factors: Tensor,
    ) -> Tensor:
        gathered, values = gathered.contiguous(), values.contiguous()
        factors = factors.contiguous()
        gated = torch.empty_like(gathered)
        ctx.save_for_backward(gathered, values, factors)
        _gate_without_own_value[_xsa_grid(values)](
            gathered,
            values,
            factors,
            gated,
            SMALLEST_SQUARE,
            gathered.size(0) * gathered.size(1),
            gathered.size(2),
            values.size(2),
            values.size(3),
            BLOCK_TOKENS_XSA,
            next_power_of_2(values.size(3)),
        )
        return gated

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401
        upstream: Tensor,  # (B, T, H, D)
    ) -> tuple[Tensor, Tensor, Tensor]:
        gathered, values, factors = ctx.saved_tensors
        gradients = [torch.empty_like(tensor) for tensor in ctx.saved_tensors]
        _gate_without_own_value_backward[_xsa_grid(values)](
            gathered,
            values,
            factors,
            upstream.contiguous(),
            *gradients,
            SMALLEST_SQUARE,
            gathered.size(0) * gathered.size(1),
            gathered.size(2),
            values.size(2),
            values.size(3),
            BLOCK_TOKENS_XSA,
            next_power_of_2(values.size(3)),
        )
        to_gathered, to_values, to_factors = gradients
        return to_gathered, to_values, to_factors


def _xsa_grid(values: Tensor) -> tuple[int, int]:  # key-value heads, blocks of tokens
    num_tokens = values.size(0) * values.size(1)
    return values.size(2), -(-num_tokens // BLOCK_TOKENS_XSA)


@jit
def _gate_without_own_value(
    gathered: tl.pointer_type,
    values: tl.pointer_type,
    factors: tl.pointer_type,
    gated: tl.pointer_type,
    smallest_square: float,
    num_tokens: int,
    num_heads: tl.constexpr,
    num_kv_heads: tl.constexpr,
    num_channels: tl.constexpr,
    block_tokens: tl.constexpr,
    block_channels: tl.constexpr,
) -> None:
    kv_head = tl.program_id(0)
    tokens = (tl.program_id(1) * block_tokens + tl.arange(0, block_tokens)).to(tl.int64)
    channels = tl.arange(0, block_channels)[None, :]
    is_token = tokens < num_tokens
    is_inside = is_token[:, None] & (channels < num_channels)
    value_places = ((tokens * num_kv_heads + kv_head) * num_channels)[:, None] + channels
    value = tl.load(values + value_places, is_inside, 0.0).to(tl.float32)
    square = tl.maximum(tl.sum(value * value, axis=1), smallest_square)
    num_shared: tl.constexpr = num_heads // num_kv_heads
    for index in tl.static_range(num_shared):
        rows = tokens * num_heads + kv_head * num_shared + index
        places = (rows * num_channels)[:, None] + channels
        own = tl.load(gathered + places, is_inside, 0.0).to(tl.float32)
        factor = tl.load(factors + rows, is_token, 0.0).to(tl.float32)
        share = tl.sum(own * value, axis=1) / square
        result = factor[:, None] * (own - share[:, None] * value)
        tl.store(gated + places, result.to(gated.dtype.element_ty), is_inside)


@jit
def _gate_without_own_value_backward(
    gathered: tl.pointer_type,
    values: tl.pointer_type,
    factors: tl.pointer_type,
    upstream: tl.pointer_type,
    to_gathered: tl.pointer_type,
    to_values: tl.pointer_type,
    to_factors: tl.pointer_type,
    smallest_square: float,
    num_tokens: int,
    num_heads: tl.constexpr,
    num_kv_heads: tl.constexpr,
    num_channels: tl.constexpr,
    block_tokens: tl.constexpr,
    block_channels: tl.constexpr,
) -> None:
    kv_head = tl.program_id(0)
    tokens = (tl.program_id(1) * block_tokens + tl.arange(0, block_tokens)).to(tl.int64)
    channels = tl.arange(0, block_channels)[None, :]
    is_token = tokens < num_tokens
    is_inside = is_token[:, None] & (channels < num_channels)
    value_places = ((tokens * num_kv_heads + kv_head) * num_channels)[:, None] + channels
    value = tl.load(values + value_places, is_inside, 0.0).to(tl.float32)
    square = tl.maximum(tl.sum(value * value, axis=1), smallest_square)
    to_value = tl.zeros((block_tokens, block_channels), dtype=tl.float32)
    num_shared: tl.constexpr = num_heads // num_kv_heads
    for index in tl.static_range(num_shared):
        rows = tokens * num_heads + kv_head * num_shared + index
        places = (rows * num_channels)[:, None] + channels
        own = tl.load(gathered + places, is_inside, 0.0).to(tl.float32)
        slope = tl.load(upstream + places, is_inside, 0.0).to(tl.float32)
        factor = tl.load(factors + rows, is_token, 0.0).to(tl.float32)
        share = (tl.sum(own * value, axis=1) / square)[:, None]
        to_factor = tl.sum(slope * (own - share * value), axis=1)
        tl.store(to_factors + rows, to_factor.to(to_factors.dtype.element_ty), is_token)
        slope *= factor[:, None]
        slope_share = (tl.sum(slope * value, axis=1) / square)[:, None]
        to_value -= share * slope + slope_share * own - 2.0 * share * slope_share * value
        result = slope - slope_share * value
        tl.store(to_gathered + places, result.to(to_gathered.dtype.element_ty), is_inside)
    tl.store(to_values + value_places, to_value.to(to_values.dtype.element_ty), is_inside)
