"""Rounding in training's forward pass, with a gradient as if there were none."""

import torch
from torch import Tensor

from trainer.quantization.rounding import max_code


def fake_quantize_rows(
    weight: Tensor,  # (R, C)
    bits: int,
) -> Tensor:  # (R, C)
    """Each row at the levels of its own largest value: w + (rounded(w) - w), the bracket detached.

    The straight-through estimator of #63: forward sees the rounded weight, the gradient passes
    unchanged. A row's largest value counts as 1 / max_code at least. The artifact's steps are
    wider for rows within ±1 (see `round_rows`), so training with this does not see all of what
    storing does to small weights.
    """
    largest = max_code(bits)
    with torch.no_grad():
        scale = weight.abs().amax(dim=1, keepdim=True).clamp_min(1.0 / largest) / largest
        error = (weight / scale).round().clamp(-largest, largest) * scale - weight
    return weight + error
