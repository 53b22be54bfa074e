"""The feed-forward layer, as anyone would write it. N tokens, C channels, H hidden ones."""

import torch.nn.functional as F
from torch import Tensor


def feed_forward(
    inputs: Tensor,  # (N, C)
    widen: Tensor,  # (H, C)
    narrow: Tensor,  # (C, H)
    slope: float,
) -> Tensor:  # (N, C)
    """leaky_relu(inputs widenᵀ)² narrowᵀ."""
    return F.leaky_relu(inputs @ widen.T, slope).square() @ narrow.T
