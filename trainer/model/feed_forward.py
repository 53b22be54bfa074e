"""The squared-relu feed-forward layer. B batch, T tokens, C channels."""

import torch
from torch import Tensor, nn

from trainer.model.linear import CastedLinear


class FeedForward(nn.Module):
    """Widen, relu², narrow; the second matrix starts at zero, so that a block starts as nothing."""

    def __init__(self, model_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc = CastedLinear(model_dim, hidden_dim)
        self.proj = CastedLinear(hidden_dim, model_dim, zero_init=True)

    def forward(self, inputs: Tensor) -> Tensor:  # (B, T, C) → (B, T, C)
        narrowed: Tensor = self.proj(torch.relu(self.fc(inputs)).square())
        return narrowed
