"""A block of the transformer.

B batch, T tokens, C channels.
"""

import torch
from torch import Tensor, nn

from trainer.kernels.residual_norm.triton_kernel import fused_mixed_and_normed
from trainer.kernels.triton_jit import runs_kernels
from trainer.model.attention import CausalSelfAttention, Surroundings
from trainer.model.deltas import BlockDeltas
from trainer.model.feed_forward import FeedForward
from trainer.model.linear import product_type, rms_norm
from trainer.recipe import ModelOptions


class Block(nn.Module):
    """Attention and feed-forward; the embedding is mixed in again before them."""

    def __init__(self, options: ModelOptions, layer: int) -> None:
        super().__init__()
        self.options = options
        self.layer = layer
        self.attn = CausalSelfAttention(options, layer)
        self.mlp = FeedForward(options)
        self.attn_scale = nn.Parameter(torch.ones(options.model_dim))
        self.mlp_scale = nn.Parameter(torch.ones(options.model_dim))
        keep, add = torch.ones(options.model_dim), torch.zeros(options.model_dim)
        self.resid_mix = nn.Parameter(torch.stack((keep, add)))
        # A tensor where code is compiled for all layers alike; else the number is a part of it.
        self.norm_scale: float | Tensor | None = (layer + 1) ** -0.5 if options.ln_scale else None
        self.is_parallel = 0 <= options.parallel_residual_start <= layer

    def forward(
        self,
        stream: Tensor,  # (B, T, C) residual stream
        embedded: Tensor,  # (B, T, C) what the stream began as
        around: Surroundings,
        *,
        deltas: BlockDeltas | None = None,
    ) -> Tensor:  # (B, T, C)
        """The stream after this block; in parallel, both sublayers read what came in (#1412)."""
        mixed, normed = self.mix(stream, embedded)
        attended = mixed + self.attend(normed, around, deltas=deltas)
        return attended + self.feed(mixed if self.is_parallel else attended, deltas=deltas)

    def mix(self, stream: Tensor, embedded: Tensor) -> tuple[Tensor, Tensor]:  # (B, T, C) each
        """The stream with the embedding mixed in again, and its norm, from which to attend."""
        scale = 1.0 if self.norm_scale is None else self.norm_scale
        if self.options.fused_mix_enabled and isinstance(scale, float) and runs_kernels(stream):
            rows, early = stream.flatten(0, 1), embedded.flatten(0, 1)
            mixed, normed = fused_mixed_and_normed(
                rows, early, self.resid_mix, scale, product_type(rows)
            )
            return mixed.view_as(stream), normed.view_as(stream)
        keep, add = self.resid_mix.to(stream.dtype).unbind()
        mixed = keep * stream + add * embedded
        return mixed, self._normed(mixed)

    def attend(
        self, normed: Tensor, around: Surroundings, *, deltas: BlockDeltas | None = None
    ) -> Tensor:  # (B, T, C)
        """What attention adds to a stream."""
        if self.options.folded_scales_enabled and deltas is None:
            folded: Tensor = self.attn(normed, around, scale=self.attn_scale)
            return folded
        gathered: Tensor = self.attn(normed, around, deltas=deltas)
        return self.attn_scale.to(gathered.dtype) * gathered

    def feed(self, stream: Tensor, *, deltas: BlockDeltas | None = None) -> Tensor:  # (B, T, C)
        """What the feed-forward layer adds to a stream."""
        normed = self._normed(stream)
        if self.options.folded_scales_enabled and deltas is None:
            folded: Tensor = self.mlp(normed, scale=self.mlp_scale)
            return folded
        fed: Tensor = self.mlp(normed)
        if deltas is not None and deltas.mlp is not None:
            fed = fed + deltas.mlp(normed)
        return self.mlp_scale.to(stream.dtype) * fed

    def _normed(self, stream: Tensor) -> Tensor:
        normed = rms_norm(stream)
        if isinstance(self.norm_scale, Tensor):  # in fp32, as a number meets it
            return (normed.float() * self.norm_scale).to(normed.dtype)
        return normed if self.norm_scale is None else normed * self.norm_scale
