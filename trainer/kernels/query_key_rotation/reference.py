"""Norm, turn and gain, one after the other.

B batch, T tokens, H heads, D channels of a head, R of them turned.
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
