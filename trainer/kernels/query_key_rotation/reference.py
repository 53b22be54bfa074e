"""Norm, turn and gain, one after the other.

B batch, T tokens, H query heads, K key-value heads, D channels of a head, R of them turned.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = torch.finfo(torch.float32).eps  # within the root, as in fp32 arithmetic


def normed_and_turned(
    heads: Tensor,  # (B, T, H, D)
    cosine: Tensor,  # (T, R/2)
    sine: Tensor,  # (T, R/2)
    gains: Tensor,  # (H,)
) -> Tensor:  # (B, T, H, D)
    """Channels to a root mean square of one, the first R turned in pairs, all times the gain."""
    normed = F.rms_norm(heads, (heads.size(-1),), eps=EPSILON)
    num_turned = 2 * cosine.size(-1)
    first, second = normed[..., :num_turned].chunk(2, dim=-1)
    cosine, sine = cosine[:, None], sine[:, None]
    turned = (first * cosine + second * sine, second * cosine - first * sine)
    return torch.cat((*turned, normed[..., num_turned:]), dim=-1) * gains[:, None]


def heads_of_joint(
    joint: Tensor,  # (B, T, H + 2 K, D)
    cosine: Tensor,  # (T, R/2)
    sine: Tensor,  # (T, R/2)
    gains: Tensor,  # (H,)
) -> tuple[Tensor, Tensor, Tensor]:  # (B, T, H, D), (B, T, K, D) twice
    """Queries as above, keys likewise without a gain, values as they are."""
    num_kv_heads = (joint.size(2) - len(gains)) // 2
    numbers = [len(gains), num_kv_heads, num_kv_heads]
    queries, keys, values = joint.split_with_sizes(numbers, dim=2)
    plain_gains = torch.ones_like(gains[:num_kv_heads])
    return (
        normed_and_turned(queries, cosine, sine, gains),
        normed_and_turned(keys, cosine, sine, plain_gains),
        values,
    )
