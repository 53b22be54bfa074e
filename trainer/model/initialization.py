"""Where weights start, when a recipe wants something else than the baseline.

C channels, V vocabulary.
"""

import math

import torch
from torch import Tensor, nn


@torch.no_grad()
def overtone_(embedding: Tensor) -> None:  # (V, C)
    """Give an embedding the singular values s_k = s_1 / sqrt(k), in place (#60)."""
    left, values, right = torch.linalg.svd(embedding, full_matrices=False)
    ranks = torch.arange(1, values.numel() + 1, dtype=values.dtype, device=values.device)
    embedding.copy_((left * (values[0] / ranks.sqrt())) @ right)


@torch.no_grad()
def phase_(resid_mix: Tensor, index: int, num_layers: int) -> None:  # (2, C): keep, add
    """Let block `index` keep p of the stream and add 1 - p of the embedding, in place (#60).

    p = sigmoid(3 (index / (num_layers - 1) - 1/2)): from 0.18 in the first block to 0.82.
    """
    depth = index / max(num_layers - 1, 1)
    keep = 1 / (1 + math.exp(-3.0 * (depth - 0.5)))
    resid_mix[0] = keep
    resid_mix[1] = 1 - keep


def orthogonalize_(model: nn.Module) -> None:
    """Make every linear layer's matrix orthogonal that does not start at zero, in place (#65)."""
    for module in model.modules():
        if isinstance(module, nn.Linear) and not getattr(module, "zero_init", False):
            nn.init.orthogonal_(module.weight)
