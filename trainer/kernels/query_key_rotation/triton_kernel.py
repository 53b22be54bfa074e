# mypy: disable-error-code="name-defined, valid-type"
"""Norm, turn and gain in one pass over queries or keys.

With n = x / rms(x), y_c = g (cos n_c ± sin n_p), where p, R/2 channels away, is the partner of c. A
turn is undone by the opposite one: with d = cos dy_c ∓ sin dy_p, dx = g (d - n mean(d n)) / rms(x)
and dg = Σ d n, summed in two stages: over a program's tokens, then over programs.

Floor: forward moves 2 elements for each of B T H D, backward 3. 98,304 tokens of 8 heads of 64 in
bf16: 0.20 and 0.30 GB, 0.07 and 0.10 ms at 3 TB/s; some 10 operations an element.

B batch, T tokens, H heads, D channels of a head, R of them turned.
"""

from typing import Any

import torch
from torch import Tensor

from trainer.kernels.query_key_rotation.reference import EPSILON
from trainer.kernels.triton_jit import jit, next_power_of_2, tl

BLOCK_TOKENS = 64  # of one head in one program


def fused_normed_and_turned(
    heads: Tensor,  # (B, T, H, D)
    cosine: Tensor,  # (T, R/2) fp32
    sine: Tensor,  # (T, R/2) fp32
    gains: Tensor,  # (H,)
) -> Tensor:  # (B, T, H, D)
    """Channels normed, the first R turned, times the gain; differentiable in heads and gains."""
    turned: Tensor = _NormedAndTurned.apply(heads, cosine, sine, gains)  # type: ignore[no-untyped-call]
    return turned


class _NormedAndTurned(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        heads: Tensor,
        cosine: Tensor,
        sine: Tensor,
        gains: Tensor,
    ) -> Tensor:
        heads, cosine, sine = heads.contiguous(), cosine.contiguous(), sine.contiguous()
        turned = torch.empty_like(heads)
        ctx.save_for_backward(heads, cosine, sine, gains)
        _norm_and_turn[_grid(heads)](
            heads,
            cosine,
            sine,
            gains,
            turned,
            EPSILON,
            heads.size(0) * heads.size(1),
            heads.size(1),
            heads.size(2),
            heads.size(3),
            2 * cosine.size(1),
            BLOCK_TOKENS,
            next_power_of_2(heads.size(3)),
        )
        return turned

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401
        upstream: Tensor,  # (B, T, H, D)
    ) -> tuple[Tensor, None, None, Tensor]:
        heads, cosine, sine, gains = ctx.saved_tensors
        upstream = upstream.contiguous()
        to_heads = torch.empty_like(heads)
        grid = _grid(heads)
        to_gains = torch.empty(grid[1], grid[0], dtype=torch.float32, device=heads.device)
        _norm_and_turn_backward[grid](
            heads,
            cosine,
            sine,
            gains,
            upstream,
            to_heads,
            to_gains,
            EPSILON,
            heads.size(0) * heads.size(1),
            heads.size(1),
            heads.size(2),
            heads.size(3),
            2 * cosine.size(1),
            BLOCK_TOKENS,
            next_power_of_2(heads.size(3)),
        )
        return to_heads, None, None, to_gains.sum(0).to(gains.dtype)


def _grid(heads: Tensor) -> tuple[int, int]:  # heads, blocks of tokens
    num_tokens = heads.size(0) * heads.size(1)
    return heads.size(2), -(-num_tokens // BLOCK_TOKENS)


@jit
def _norm_and_turn(
    heads: tl.pointer_type,
    cosine: tl.pointer_type,
    sine: tl.pointer_type,
    gains: tl.pointer_type,
    turned: tl.pointer_type,
    epsilon: float,
    num_tokens: int,
    num_positions: int,
    num_heads: tl.constexpr,
    num_channels: tl.constexpr,
    num_turned: tl.constexpr,
    block_tokens: tl.constexpr,
    block_channels: tl.constexpr,
) -> None:
    head = tl.program_id(0)
    tokens = tl.program_id(1) * block_tokens + tl.arange(0, block_tokens)
    channels = tl.arange(0, block_channels)
    half: tl.constexpr = num_turned // 2
    is_turned, is_first = channels < num_turned, channels < half
    partners = tl.where(is_first, channels + half, tl.where(is_turned, channels - half, channels))
    is_inside = (tokens < num_tokens)[:, None] & (channels < num_channels)[None, :]
    starts = ((tokens.to(tl.int64) * num_heads + head) * num_channels)[:, None]
    own = tl.load(heads + starts + channels[None, :], is_inside, 0.0).to(tl.float32)
    other = tl.load(heads + starts + partners[None, :], is_inside, 0.0).to(tl.float32)
    pairs = tl.where(is_first, channels, channels - half)
    angles = (tokens % num_positions)[:, None] * half + pairs[None, :]
    has_angle = is_inside & is_turned[None, :]
    cosines = tl.load(cosine + angles, has_angle, 1.0)
    sines = tl.load(sine + angles, has_angle, 0.0)
    sines = tl.where(is_first[None, :], sines, -sines)
    scale = tl.rsqrt(tl.sum(own * own, axis=1) / num_channels + epsilon)
    scale *= tl.load(gains + head).to(tl.float32)
    result = scale[:, None] * (own * cosines + other * sines)
    places = turned + starts + channels[None, :]
    tl.store(places, result.to(turned.dtype.element_ty), is_inside)


@jit
def _norm_and_turn_backward(
    heads: tl.pointer_type,
    cosine: tl.pointer_type,
    sine: tl.pointer_type,
    gains: tl.pointer_type,
    upstream: tl.pointer_type,
    to_heads: tl.pointer_type,
    to_gains: tl.pointer_type,
    epsilon: float,
    num_tokens: int,
    num_positions: int,
    num_heads: tl.constexpr,
    num_channels: tl.constexpr,
    num_turned: tl.constexpr,
    block_tokens: tl.constexpr,
    block_channels: tl.constexpr,
) -> None:
    head = tl.program_id(0)
    tokens = tl.program_id(1) * block_tokens + tl.arange(0, block_tokens)
    channels = tl.arange(0, block_channels)
    half: tl.constexpr = num_turned // 2
    is_turned, is_first = channels < num_turned, channels < half
    partners = tl.where(is_first, channels + half, tl.where(is_turned, channels - half, channels))
    is_inside = (tokens < num_tokens)[:, None] & (channels < num_channels)[None, :]
    starts = ((tokens.to(tl.int64) * num_heads + head) * num_channels)[:, None]
    own = tl.load(heads + starts + channels[None, :], is_inside, 0.0).to(tl.float32)
    slope = tl.load(upstream + starts + channels[None, :], is_inside, 0.0).to(tl.float32)
    other_slope = tl.load(upstream + starts + partners[None, :], is_inside, 0.0).to(tl.float32)
    pairs = tl.where(is_first, channels, channels - half)
    angles = (tokens % num_positions)[:, None] * half + pairs[None, :]
    has_angle = is_inside & is_turned[None, :]
    cosines = tl.load(cosine + angles, has_angle, 1.0)
    sines = tl.load(sine + angles, has_angle, 0.0)
    sines = tl.where(is_first[None, :], -sines, sines)
    scale = tl.rsqrt(tl.sum(own * own, axis=1) / num_channels + epsilon)[:, None]
    normed = own * scale
    to_normed = slope * cosines + other_slope * sines
    along = tl.sum(to_normed * normed, axis=1)
    tl.store(to_gains + tl.program_id(1) * num_heads + head, tl.sum(along, axis=0))
    gain = tl.load(gains + head).to(tl.float32)
    result = gain * scale * (to_normed - normed * (along / num_channels)[:, None])
    places = to_heads + starts + channels[None, :]
    tl.store(places, result.to(to_heads.dtype.element_ty), is_inside)
