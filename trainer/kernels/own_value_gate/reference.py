"""XSA and gate, one after the other.

B batch, T tokens, H query heads, K key-value heads, D channels of a head.
"""

import torch.nn.functional as F
from torch import Tensor


def without_own_value(
    gathered: Tensor,  # (B, T, H, D)
    values: Tensor,  # (B, T, K, D)
) -> Tensor:  # (B, T, H, D)
    """Take out of each head what points along its own position's value (#265, arXiv 2603.09078).

    y becomes y - (y · u) u with u = v / |v|; the heads that share a value lose the same direction.
    """
    num_rows, num_tokens, num_kv_heads, head_dim = values.shape
    groups = gathered.reshape(num_rows, num_tokens, num_kv_heads, -1, head_dim)  # (B, T, K, H/K, D)
    direction = F.normalize(values, dim=-1)[:, :, :, None]
    along = (groups * direction).sum(dim=-1, keepdim=True) * direction
    return (groups - along).flatten(2, 3)


def gated_without_own_value(
    gathered: Tensor,  # (B, T, H, D)
    values: Tensor,  # (B, T, K, D)
    factors: Tensor,  # (B, T, H)
) -> Tensor:  # (B, T, H, D)
    """The same, each head times its factor."""
    return without_own_value(gathered, values) * factors[..., None]
