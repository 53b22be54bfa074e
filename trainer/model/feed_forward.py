"""The feed-forward layer with a squared activation. B batch, T tokens, C channels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.kernels.leaky_relu_squared.triton_kernel import fused_feed_forward
from trainer.kernels.triton_jit import moves_tiles
from trainer.model.linear import CastedLinear, product_type
from trainer.recipe import ModelOptions


class FeedForward(nn.Module):
    """Widen, bend, square, narrow; the second matrix starts at zero: a block starts as nothing.

    The bend is a leaky relu: with slope 0 the square is relu², with 0.5 it is x² or x²/4 (#493).
    """

    def __init__(self, options: ModelOptions) -> None:
        super().__init__()
        self.options = options
        self.slope = options.leaky_relu_slope
        self.fc = CastedLinear(options.model_dim, options.hidden_dim)
        self.proj = CastedLinear(options.hidden_dim, options.model_dim, zero_init=True)

    def forward(
        self,
        inputs: Tensor,  # (B, T, C)
        *,
        scale: Tensor | None = None,  # (C,) of the outputs
    ) -> Tensor:  # (B, T, C)
        # Without gradients there is nothing to save, and calibration watches the layers.
        if self.options.fused_mlp_enabled and torch.is_grad_enabled() and moves_tiles(inputs):
            return self._fused(inputs.to(product_type(inputs)), scale)
        widened = self.fc(inputs)
        bent = F.leaky_relu(widened, self.slope) if self.slope else F.relu(widened)
        narrowed: Tensor = self.proj(bent.square(), scale)
        return narrowed

    def _fused(self, inputs: Tensor, scale: Tensor | None) -> Tensor:  # (B, T, C) → (B, T, C)
        widen = self.fc.used_weight(inputs.dtype)
        narrow = self.proj.used_weight(inputs.dtype, scale)
        return fused_feed_forward(inputs.flatten(0, 1), widen, narrow, self.slope).view_as(inputs)
