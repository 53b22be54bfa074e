# mypy: disable-error-code="name-defined, valid-type"
"""Norm, turn and gain in one pass over queries or keys, or over queries, keys and values at once.

With n = x / rms(x), y_c = g (cos n_c ± sin n_p), where p, R/2 channels away, is the partner of c. A
turn is undone by the opposite one: with d = cos dy_c ∓ sin dy_p, dx = g (d - n mean(d n)) / rms(x)
and dg = Σ d n, summed in two stages: over a program's tokens, then over programs; or not at all
where nobody asks, as with keys, which have no gain of their own.

Floor: forward moves 2 elements for each of B T H D, backward 3. 98,304 tokens of 8 heads of 64 in
bf16: 0.20 and 0.30 GB, 0.07 and 0.10 ms at 3 TB/s; some 10 operations an element. Of joint heads,
what one product made of all three, values are copied: 2 forward, 2 backward.

B batch, T tokens, H query heads, K key-value heads, D channels of a head, R of them turned.
"""

import torch
from torch import Tensor

from trainer.kernels.query_key_rotation.reference import EPSILON
from trainer.kernels.triton_jit import (
    Kernel,
    Saved,
    jit,
    load_wide,
    next_power_of_2,
    store_narrow,
    tl,
)

BLOCK_TOKENS = 64  # of one head in one program


def fused_normed_and_turned(
    heads: Tensor,  # (B, T, H, D)
    cosine: Tensor,  # (T, R/2) fp32
    sine: Tensor,  # (T, R/2) fp32
    gains: Tensor,  # (H,)
) -> Tensor:  # (B, T, H, D)
    """Channels normed, the first R turned, times the gain; differentiable in heads and gains."""
    turned: Tensor = _NormedAndTurned.apply(  # type: ignore[no-untyped-call]
        heads.contiguous(), cosine.contiguous(), sine.contiguous(), gains
    )
    return turned


def fused_heads_of_joint(
    joint: Tensor,  # (B, T, H + 2 K, D)
    cosine: Tensor,  # (T, R/2) fp32
    sine: Tensor,  # (T, R/2) fp32
    gains: Tensor,  # (H,)
) -> tuple[Tensor, Tensor, Tensor]:  # (B, T, H, D), (B, T, K, D) twice
    """Queries as above, keys likewise without a gain, values as they are; differentiable."""
    queries, keys, values = _HeadsOfJoint.apply(  # type: ignore[no-untyped-call]
        joint.contiguous(), cosine.contiguous(), sine.contiguous(), gains
    )
    return queries, keys, values


class _NormedAndTurned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Saved, *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs)
        turned = torch.empty_like(inputs[0])
        nothing = inputs[-1], inputs[-1]  # in the place of keys and values
        _launch_rotation(_norm_and_turn, *inputs, turned, *nothing)
        return turned

    @staticmethod
    def backward(ctx: Saved, upstream: Tensor) -> tuple[Tensor, None, None, Tensor | None]:
        gains = ctx.saved_tensors[-1]
        return _joint_gradients(ctx, upstream.contiguous(), gains, gains)


class _HeadsOfJoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Saved, *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*inputs)
        joint, gains = inputs[0], inputs[-1]
        num_rows, row_tokens, num_joint_heads, num_channels = joint.shape
        num_kv_heads = (num_joint_heads - len(gains)) // 2
        heads = tuple(
            joint.new_empty(num_rows, row_tokens, number, num_channels)
            for number in (len(gains), num_kv_heads, num_kv_heads)
        )
        _launch_rotation(_norm_and_turn, *inputs, *heads)
        return heads

    @staticmethod
    def backward(ctx: Saved, *upstream: Tensor) -> tuple[Tensor, None, None, Tensor | None]:
        return _joint_gradients(ctx, *(one.contiguous() for one in upstream))


def _joint_gradients(ctx: Saved, *upstream: Tensor) -> tuple[Tensor, None, None, Tensor | None]:
    joint, _, _, gains = ctx.saved_tensors
    wants_gains = ctx.needs_input_grad[-1]
    to_joint = torch.empty_like(joint)
    num_sums = _num_blocks(joint) if wants_gains else 0
    to_gains = torch.empty(num_sums, joint.size(2), dtype=torch.float32, device=joint.device)
    inputs = *ctx.saved_tensors, *upstream
    _launch_rotation(_norm_and_turn_backward, *inputs, to_joint, to_gains, wants_gains)
    summed = to_gains[:, : len(gains)].sum(0).to(gains.dtype) if wants_gains else None
    return to_joint, None, None, summed


def _launch_rotation(
    kernel: Kernel,
    joint: Tensor,
    cosine: Tensor,
    sine: Tensor,
    gains: Tensor,
    *others: Tensor | bool,
) -> None:
    num_rows, row_tokens, num_joint_heads, num_channels = joint.shape
    kernel[num_joint_heads, _num_blocks(joint)](
        joint,
        cosine,
        sine,
        gains,
        *others,
        EPSILON,
        num_rows * row_tokens,
        row_tokens,
        len(gains),
        (num_joint_heads - len(gains)) // 2,
        num_channels,
        2 * cosine.size(1),
        BLOCK_TOKENS,
        next_power_of_2(num_channels),
    )


def _num_blocks(heads: Tensor) -> int:  # of tokens
    return -(-heads.size(0) * heads.size(1) // BLOCK_TOKENS)


@jit
def _norm_and_turn(
    joint: tl.pointer_type,
    cosine: tl.pointer_type,
    sine: tl.pointer_type,
    gains: tl.pointer_type,
    queries: tl.pointer_type,
    keys: tl.pointer_type,
    values: tl.pointer_type,
    epsilon: tl.constexpr,
    num_tokens: int,
    num_positions: int,
    num_heads: tl.constexpr,
    num_kv_heads: tl.constexpr,
    num_channels: tl.constexpr,
    num_turned: tl.constexpr,
    block_tokens: tl.constexpr,
    block_channels: tl.constexpr,
) -> None:
    head = tl.program_id(0)
    channels, partners, is_inside = _channels_and_partners(
        num_tokens, num_channels, num_turned, block_tokens, block_channels
    )
    cosines, sines = _cosines_and_sines(
        cosine, sine, is_inside, num_positions, num_turned, block_tokens, block_channels
    )
    num_joint_heads: tl.constexpr = num_heads + 2 * num_kv_heads
    starts = _starts(head, num_joint_heads, num_channels, block_tokens)
    own = load_wide(joint + starts + channels, is_inside)
    other = load_wide(joint + starts + partners, is_inside)
    scale = tl.rsqrt(tl.sum(own * own, axis=1) / num_channels + epsilon)
    gain = tl.load(gains + tl.minimum(head, num_heads - 1)).to(tl.float32)
    scale *= tl.where(head < num_heads, gain, 1.0)
    turned = scale[:, None] * (own * cosines + other * sines)
    places = _starts(head, num_heads, num_channels, block_tokens) + channels
    heads = head + 0 * channels  # the interpreter knows no masks of one element
    store_narrow(queries + places, turned, is_inside & (heads < num_heads))
    if num_kv_heads > 0:
        is_key = (heads >= num_heads) & (heads < num_heads + num_kv_heads)
        places = _starts(head - num_heads, num_kv_heads, num_channels, block_tokens) + channels
        store_narrow(keys + places, turned, is_inside & is_key)
        places -= num_kv_heads * num_channels
        store_narrow(values + places, own, is_inside & (heads >= num_heads + num_kv_heads))


@jit
def _norm_and_turn_backward(
    joint: tl.pointer_type,
    cosine: tl.pointer_type,
    sine: tl.pointer_type,
    gains: tl.pointer_type,
    to_queries: tl.pointer_type,
    to_keys: tl.pointer_type,
    to_values: tl.pointer_type,
    to_joint: tl.pointer_type,
    to_gains: tl.pointer_type,
    wants_gains: tl.constexpr,
    epsilon: tl.constexpr,
    num_tokens: int,
    num_positions: int,
    num_heads: tl.constexpr,
    num_kv_heads: tl.constexpr,
    num_channels: tl.constexpr,
    num_turned: tl.constexpr,
    block_tokens: tl.constexpr,
    block_channels: tl.constexpr,
) -> None:
    head = tl.program_id(0)
    channels, partners, is_inside = _channels_and_partners(
        num_tokens, num_channels, num_turned, block_tokens, block_channels
    )
    cosines, sines = _cosines_and_sines(
        cosine, sine, is_inside, num_positions, num_turned, block_tokens, block_channels
    )
    num_joint_heads: tl.constexpr = num_heads + 2 * num_kv_heads
    places = _starts(head, num_joint_heads, num_channels, block_tokens) + channels
    own = load_wide(joint + places, is_inside)
    scale = tl.rsqrt(tl.sum(own * own, axis=1) / num_channels + epsilon)[:, None]
    normed = own * scale
    heads = head + 0 * channels
    is_asked = is_inside & (heads < num_heads)
    starts = _starts(head, num_heads, num_channels, block_tokens)
    upstream = load_wide(to_queries + starts + channels, is_asked)
    other = load_wide(to_queries + starts + partners, is_asked)
    if num_kv_heads > 0:
        is_asked = is_inside & (heads >= num_heads) & (heads < num_heads + num_kv_heads)
        starts = _starts(head - num_heads, num_kv_heads, num_channels, block_tokens)
        upstream += load_wide(to_keys + starts + channels, is_asked)
        other += load_wide(to_keys + starts + partners, is_asked)
    to_normed = upstream * cosines - other * sines
    along = tl.sum(to_normed * normed, axis=1)
    if wants_gains:
        sums = to_gains + tl.program_id(1) * num_joint_heads + head
        tl.store(sums, tl.sum(along, axis=0))
    gain = tl.load(gains + tl.minimum(head, num_heads - 1)).to(tl.float32)
    gain = tl.where(head < num_heads, gain, 1.0)
    result = gain * scale * (to_normed - normed * (along / num_channels)[:, None])
    if num_kv_heads > 0:
        is_value = is_inside & (heads >= num_heads + num_kv_heads)
        starts -= num_kv_heads * num_channels
        result += load_wide(to_values + starts + channels, is_value)
    store_narrow(to_joint + places, result, is_inside)


@jit
def _channels_and_partners(
    num_tokens: int,
    num_channels: tl.constexpr,
    num_turned: tl.constexpr,
    block_tokens: tl.constexpr,
    block_channels: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """A head's channels and their partners, and which of a program's are there."""
    tokens = tl.program_id(1) * block_tokens + tl.arange(0, block_tokens)
    channels = tl.arange(0, block_channels)
    half: tl.constexpr = num_turned // 2
    is_turned, is_first = channels < num_turned, channels < half
    partners = tl.where(is_first, channels + half, tl.where(is_turned, channels - half, channels))
    is_inside = (tokens < num_tokens)[:, None] & (channels < num_channels)[None, :]
    return channels[None, :], partners[None, :], is_inside


@jit
def _starts(
    head: tl.tensor,
    num_heads: tl.constexpr,
    num_channels: tl.constexpr,
    block_tokens: tl.constexpr,
) -> tl.tensor:
    """Where a head of each of a program's tokens lies, among so many heads."""
    tokens = tl.program_id(1) * block_tokens + tl.arange(0, block_tokens)
    return ((tokens.to(tl.int64) * num_heads + head) * num_channels)[:, None]


@jit
def _cosines_and_sines(
    cosine: tl.pointer_type,
    sine: tl.pointer_type,
    is_inside: tl.tensor,
    num_positions: int,
    num_turned: tl.constexpr,
    block_tokens: tl.constexpr,
    block_channels: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """How far a program's channels are turned; a pair's second channel gets minus the sine."""
    tokens = tl.program_id(1) * block_tokens + tl.arange(0, block_tokens)
    channels = tl.arange(0, block_channels)[None, :]
    half: tl.constexpr = num_turned // 2
    pairs = tl.where(channels < half, channels, channels - half)
    angles = (tokens % num_positions)[:, None] * half + pairs
    is_turned = is_inside & (channels < num_turned)  # all rows have angles, but so none spills
    signs = tl.where(channels < half, 1.0, -1.0)
    return tl.load(cosine + angles, is_turned, 1.0), signs * tl.load(sine + angles, is_turned, 0.0)
