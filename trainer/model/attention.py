"""Causal attention with fewer key-value heads than query heads.

B batch, T tokens, C channels, H heads, D channels of a head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.model.linear import CastedLinear, rms_norm
from trainer.model.rotary import apply_rotary
from trainer.recipe import ModelOptions


class CausalSelfAttention(nn.Module):
    """Queries and keys are normed and turned; a learnt gain per head sets the sharpness."""

    def __init__(self, options: ModelOptions) -> None:
        super().__init__()
        self.head_dim = options.model_dim // options.num_heads
        self.shares_keys = options.num_kv_heads != options.num_heads
        kv_dim = options.num_kv_heads * self.head_dim
        self.c_q = CastedLinear(options.model_dim, options.model_dim)
        self.c_k = CastedLinear(options.model_dim, kv_dim)
        self.c_v = CastedLinear(options.model_dim, kv_dim)
        self.proj = CastedLinear(options.model_dim, options.model_dim, zero_init=True)
        self.q_gain = nn.Parameter(torch.full((options.num_heads,), options.qk_gain_init))

    def forward(
        self,
        inputs: Tensor,  # (B, T, C)
        cosine: Tensor,  # (T, D/2)
        sine: Tensor,  # (T, D/2)
    ) -> Tensor:  # (B, T, C)
        """What each position gathers from itself and the positions before it."""
        queries = apply_rotary(rms_norm(self._heads(self.c_q, inputs)), cosine, sine)
        keys = apply_rotary(rms_norm(self._heads(self.c_k, inputs)), cosine, sine)
        gathered = F.scaled_dot_product_attention(
            queries * self.q_gain.to(queries.dtype)[:, None, None],
            keys,
            self._heads(self.c_v, inputs),
            is_causal=True,
            enable_gqa=self.shares_keys,
        )
        merged: Tensor = self.proj(gathered.transpose(1, 2).flatten(2))
        return merged

    def _heads(self, projection: CastedLinear, inputs: Tensor) -> Tensor:  # (B, H, T, D)
        projected: Tensor = projection(inputs)
        return projected.view(*projected.shape[:-1], -1, self.head_dim).transpose(1, 2)
