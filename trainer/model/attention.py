"""Causal attention with fewer key-value heads than query heads: the one core of all passes.

Training, evaluation, calibration and test-time training go through `CausalSelfAttention.forward`;
its steps are projection, norm, rotation, gain, attention, XSA, head gate, projection.

B batch, T tokens, C channels, H query heads, K key-value heads, D channels of a head, R of them
turned, W channels that a gate sees.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.kernels.own_value_gate.reference import without_own_value
from trainer.kernels.own_value_gate.triton_kernel import fused_gated_without_own_value
from trainer.kernels.query_key_rotation.triton_kernel import (
    fused_heads_of_joint,
    fused_normed_and_turned,
)
from trainer.kernels.triton_jit import runs_kernels
from trainer.model.attention_kernels import Attention
from trainer.model.deltas import AttentionDeltas, BlockDeltas, plus
from trainer.model.linear import CastedLinear, product_type, rms_norm
from trainer.model.rotary import apply_rotary
from trainer.recipe import ModelOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What attention in all blocks of a forward pass shares."""

    cosine: Tensor  # (T, R/2)
    sine: Tensor  # (T, R/2)
    attention: Attention  # who attends to whom
    value_embeddings: Mapping[int, Tensor] | None  # layer → (B, T, K * D), added to its values


class CausalSelfAttention(nn.Module):
    """Queries and keys are normed and turned; a learnt gain per head sets the sharpness."""

    def __init__(self, options: ModelOptions, layer: int) -> None:
        super().__init__()
        self.options = options
        self.layer = layer
        self.head_dim = options.head_dim
        self.has_xsa = options.xsa_last_n > 0 and layer >= options.num_layers - options.xsa_last_n
        self.c_q = CastedLinear(options.model_dim, options.model_dim)
        self.c_k = CastedLinear(options.model_dim, options.kv_dim)
        self.c_v = CastedLinear(options.model_dim, options.kv_dim)
        self.proj = CastedLinear(options.model_dim, options.model_dim, zero_init=True)
        self.q_gain = nn.Parameter(torch.full((options.num_heads,), options.qk_gain_init))
        self.gate = head_gate(options)
        self.attn_gate_w = None
        if self.gate is not None:
            self.attn_gate_w = nn.Parameter(self.gate.initial_weight(options.num_heads))

    def forward(
        self,
        inputs: Tensor,  # (B, T, C)
        around: Surroundings,
        *,
        deltas: BlockDeltas | None = None,
        scale: Tensor | None = None,  # (C,) of the outputs
    ) -> Tensor:  # (B, T, C)
        """What each position gathers from itself and the positions before it."""
        added = None if deltas is None or deltas.attention is None else deltas.attention(inputs)
        queries, keys, values = self._projected(inputs, around, added)
        gathered = around.attention(queries, keys, values)
        factors = None
        if self.gate is not None and self.attn_gate_w is not None:
            factors = self.gate.factors(self.attn_gate_w, inputs)
        merged: Tensor = self.proj(self._gated(gathered, values, factors).flatten(2), scale)
        return merged if added is None else plus(merged, added.out)

    def _projected(
        self,
        inputs: Tensor,  # (B, T, C)
        around: Surroundings,
        added: AttentionDeltas | None,
    ) -> tuple[Tensor, Tensor, Tensor]:  # (B, T, H, D), (B, T, K, D) twice
        embedded = None
        if around.value_embeddings is not None:
            embedded = around.value_embeddings.get(self.layer)
        # Without gradients there is nothing to add up, and calibration watches the layers.
        is_joint = self.options.fused_qkv_enabled and torch.is_grad_enabled()
        if is_joint and added is None and embedded is None and runs_kernels(inputs):
            return self._joint(inputs, around)
        projected = self.c_q(inputs), self.c_k(inputs), self.c_v(inputs)
        if added is not None:
            projected = added.onto_heads(projected)
        queries, keys, values = map(self._heads, projected)
        if embedded is not None:
            values = values + self._heads(embedded)
        return *self._turned(queries, keys, around), values

    def _joint(
        self, inputs: Tensor, around: Surroundings
    ) -> tuple[Tensor, Tensor, Tensor]:  # (B, T, H, D), (B, T, K, D) twice
        inputs = inputs.to(product_type(inputs))
        weights = [layer.used_weight(inputs.dtype) for layer in (self.c_q, self.c_k, self.c_v)]
        joint = self._heads(F.linear(inputs, torch.cat(weights)))
        return fused_heads_of_joint(joint, around.cosine, around.sine, self.q_gain)

    def _turned(
        self,
        queries: Tensor,  # (B, T, H, D)
        keys: Tensor,  # (B, T, K, D)
        around: Surroundings,
    ) -> tuple[Tensor, Tensor]:
        tables = around.cosine, around.sine
        if self.options.fused_qk_enabled and runs_kernels(queries):
            plain_gain = torch.ones_like(self.q_gain[: keys.size(2)])
            return (
                fused_normed_and_turned(queries, *tables, self.q_gain),
                fused_normed_and_turned(keys, *tables, plain_gain),
            )
        queries = apply_rotary(rms_norm(queries), *tables)
        keys = apply_rotary(rms_norm(keys), *tables)
        return queries * self.q_gain.to(queries.dtype)[:, None], keys

    def _gated(
        self,
        gathered: Tensor,  # (B, T, H, D)
        values: Tensor,  # (B, T, K, D)
        factors: Tensor | None,  # (B, T, H)
    ) -> Tensor:  # (B, T, H, D)
        if self.has_xsa and self.options.fused_xsa_enabled and runs_kernels(gathered):
            if factors is None:
                factors = torch.ones_like(gathered[..., 0])
            return fused_gated_without_own_value(gathered, values, factors)
        if self.has_xsa:
            gathered = without_own_value(gathered, values)
        return gathered if factors is None else gathered * factors[..., None]

    def _heads(self, projected: Tensor) -> Tensor:  # (B, T, heads * D) → (B, T, heads, D)
        return projected.view(*projected.shape[:-1], -1, self.head_dim)


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadGate:
    """A factor on each head's output: height * sigmoid(scale * W x), x the first channels."""

    window: int
    init_std: float
    scale: float = 1.0
    height: float = 1.0

    def initial_weight(self, num_heads: int) -> Tensor:  # (H, W)
        return torch.randn(num_heads, self.window) * self.init_std

    def factors(
        self,
        weight: Tensor,  # (H, W)
        inputs: Tensor,  # (B, T, C)
    ) -> Tensor:  # (B, T, H)
        seen = inputs[..., : self.window]
        return self.height * torch.sigmoid(self.scale * F.linear(seen, weight.to(seen.dtype)))


def head_gate(options: ModelOptions) -> HeadGate | None:
    """The gate that the recipe asks for, one at most."""
    if options.attn_out_gate_enabled:
        return HeadGate(window=options.gate_window, init_std=0.0, height=2.0)
    if options.sparse_attn_gate_enabled:
        return HeadGate(
            window=options.gate_window,
            init_std=options.sparse_attn_gate_init_std,
            scale=options.sparse_attn_gate_scale,
        )
    if options.gated_attn_enabled:
        return HeadGate(window=options.model_dim, init_std=options.gated_attn_init_std)
    return None
