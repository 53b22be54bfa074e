"""Rotary positions: each pair of channels is turned by an angle that grows with the position.

B batch, H heads, T tokens, D channels of a head, R of them turned.
"""

import torch
from torch import Tensor


def rotary_tables(
    num_positions: int, rope_dims: int, base: float
) -> tuple[Tensor, Tensor]:  # (T, R/2) cosine, (T, R/2) sine, fp32
    """The turning angles' cosines and sines; channel pair i has wavelength 2π·base^(2i/R).

    In fp32: the public script casts its tables to bf16, which rounds positions above 256.
    """
    inverse_frequency = base ** (-torch.arange(0, rope_dims, 2, dtype=torch.float32) / rope_dims)
    angles = torch.outer(torch.arange(num_positions, dtype=torch.float32), inverse_frequency)
    return angles.cos(), angles.sin()


def ntk_base(base: float, num_positions: int, train_seq_len: int, rope_dims: int) -> float:
    """The base at which positions beyond the training length keep the slowest pair's range.

    base * (num_positions / train_seq_len)^(R / (R - 2)) for longer sequences: "NTK-aware" scaling,
    as in #60 and #61.
    """
    if num_positions <= train_seq_len:
        return base
    stretch: float = (num_positions / train_seq_len) ** (rope_dims / (rope_dims - 2))
    return base * stretch


def apply_rotary(
    heads: Tensor,  # (B, T, H, D)
    cosine: Tensor,  # (T, R/2)
    sine: Tensor,  # (T, R/2)
) -> Tensor:  # (B, T, H, D)
    """Turn the first R channels of each head; a channel's partner is R/2 channels away."""
    cosine, sine = cosine.to(heads.dtype)[:, None], sine.to(heads.dtype)[:, None]
    num_turned = 2 * cosine.size(-1)
    first, second = heads[..., :num_turned].chunk(2, dim=-1)
    turned = (first * cosine + second * sine, second * cosine - first * sine)
    return torch.cat((*turned, heads[..., num_turned:]), dim=-1)
