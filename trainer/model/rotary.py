"""Rotary positions: each pair of channels is turned by an angle that grows with the position.

B batch, H heads, T tokens, D channels of a head.
"""

import torch
from torch import Tensor


def rotary_tables(
    num_positions: int, head_dim: int, base: float
) -> tuple[Tensor, Tensor]:  # (T, D/2) cosine, (T, D/2) sine, fp32
    """The turning angles' cosines and sines; channel pair i has wavelength 2π·base^(2i/D).

    In fp32: the public script casts its tables to bf16, which rounds positions above 256.
    """
    inverse_frequency = base ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    angles = torch.outer(torch.arange(num_positions, dtype=torch.float32), inverse_frequency)
    return angles.cos(), angles.sin()


def ntk_base(base: float, num_positions: int, train_seq_len: int, head_dim: int) -> float:
    """The base at which positions beyond the training length keep the slowest pair's range.

    base * (num_positions / train_seq_len)^(D / (D - 2)) for longer sequences: "NTK-aware" scaling,
    as in #60 and #61. A `train_seq_len` of 0 means no scaling.
    """
    if train_seq_len == 0 or num_positions <= train_seq_len:
        return base
    stretch: float = (num_positions / train_seq_len) ** (head_dim / (head_dim - 2))
    return base * stretch


def apply_rotary(
    heads: Tensor,  # (B, H, T, D)
    cosine: Tensor,  # (T, D/2)
    sine: Tensor,  # (T, D/2)
) -> Tensor:  # (B, H, T, D)
    """Turn each head; a channel's partner is half a head away."""
    cosine, sine = cosine.to(heads.dtype), sine.to(heads.dtype)
    first, second = heads.chunk(2, dim=-1)
    turned = (first * cosine + second * sine, second * cosine - first * sine)
    return torch.cat(turned, dim=-1)
