"""The public baseline's transformer, top to bottom.

B batch, T tokens, C channels, V vocabulary. Parameters keep the names of the public scripts.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.model.attention import CausalSelfAttention
from trainer.model.embeddings import BigramHash, SmearGate
from trainer.model.feed_forward import FeedForward
from trainer.model.initialization import orthogonalize_, overtone_, phase_
from trainer.model.linear import CastedLinear, rms_norm
from trainer.model.rotary import ntk_base, rotary_tables
from trainer.recipe import ModelOptions


class Block(nn.Module):
    """Attention, then feed-forward; the embedding is mixed in again before each."""

    def __init__(self, options: ModelOptions) -> None:
        super().__init__()
        self.attn = CausalSelfAttention(options)
        self.mlp = FeedForward(options.model_dim, options.hidden_dim)
        self.attn_scale = nn.Parameter(torch.ones(options.model_dim))
        self.mlp_scale = nn.Parameter(torch.ones(options.model_dim))
        keep, add = torch.ones(options.model_dim), torch.zeros(options.model_dim)
        self.resid_mix = nn.Parameter(torch.stack((keep, add)))

    def forward(
        self,
        stream: Tensor,  # (B, T, C) residual stream
        embedded: Tensor,  # (B, T, C) what the stream began as
        cosine: Tensor,  # (T, D/2)
        sine: Tensor,  # (T, D/2)
    ) -> Tensor:  # (B, T, C)
        """The stream after this block."""
        keep, add = self.resid_mix.to(stream.dtype)
        stream = keep * stream + add * embedded
        gathered = self.attn(rms_norm(stream), cosine, sine)
        stream = stream + self.attn_scale.to(stream.dtype) * gathered
        stream = stream + self.mlp_scale.to(stream.dtype) * self.mlp(rms_norm(stream))
        return stream


class GPT(nn.Module):
    """Token ids and targets in, the loss of each target in nats out.

    The first half of the blocks leaves its outputs on a stack, the second half adds them back,
    last in, first out, each channel with a learnt weight (a U-Net over depth).
    """

    cosine: Tensor  # (T, D/2)
    sine: Tensor  # (T, D/2)
    head_adapter: Callable[[Tensor], Tensor] | None = None  # (B, T, C) → (B, T, V), added to logits

    def __init__(self, options: ModelOptions, num_positions: int) -> None:
        super().__init__()
        self.options = options
        self.softcap = options.logit_softcap
        self.num_encoder_layers = options.num_layers // 2
        self.tok_emb = nn.Embedding(options.vocab_size, options.model_dim)
        self.bigram_hash = None
        if options.bigram_hash_buckets:
            self.bigram_hash = BigramHash(
                options.bigram_hash_buckets, options.bigram_hash_dim, options.model_dim
            )
        self.smeargate = SmearGate(options.model_dim) if options.use_smeargate else None
        self.skip_weights = nn.Parameter(torch.ones(self.num_encoder_layers, options.model_dim))
        self.blocks = nn.ModuleList(Block(options) for _ in range(options.num_layers))
        self.lm_head = None
        if not options.tie_embeddings:
            self.lm_head = CastedLinear(options.model_dim, options.vocab_size, zero_init=True)
        self._initialize()
        self.use_positions(num_positions)

    def _initialize(self) -> None:
        options = self.options
        if options.tie_embeddings:
            nn.init.normal_(self.tok_emb.weight, std=options.tied_embed_init_std)
        if options.overtone_init:
            overtone_(self.tok_emb.weight)
        if options.orthogonal_init:
            orthogonalize_(self)
        if options.phased_resid_mix:
            for index, block in enumerate(self.blocks):
                phase_(block.get_parameter("resid_mix"), index, options.num_layers)

    def use_positions(self, num_positions: int) -> None:
        """Be ready for sequences of up to so many tokens, turned as that length wants it."""
        options = self.options
        head_dim = options.model_dim // options.num_heads
        base = ntk_base(options.rope_base, num_positions, options.rope_train_seq_len, head_dim)
        device = self.tok_emb.weight.device
        for name, table in zip(
            ("cosine", "sine"), rotary_tables(num_positions, head_dim, base), strict=True
        ):
            self.register_buffer(name, table.to(device), persistent=False)

    def forward(
        self,
        input_ids: Tensor,  # (B, T) int64
        target_ids: Tensor,  # (B, T) int64
    ) -> Tensor:  # (B * T,) fp32
        """The cross-entropy of each target, in nats."""
        stream = self._final_stream(input_ids)
        head = self.tok_emb.weight if self.lm_head is None else self.lm_head.weight
        raw = F.linear(stream.flatten(0, 1), head.to(stream.dtype))
        if self.head_adapter is not None:
            raw = raw + self.head_adapter(stream).flatten(0, 1)
        logits = self.softcap * torch.tanh(raw / self.softcap)
        return F.cross_entropy(logits.float(), target_ids.flatten(), reduction="none")

    def _final_stream(self, input_ids: Tensor) -> Tensor:  # (B, T) → (B, T, C)
        num_tokens = input_ids.size(1)
        tables = self.cosine[:num_tokens], self.sine[:num_tokens]
        embedded = stream = self._embed(input_ids)
        skips: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            if index >= self.num_encoder_layers and skips:
                weight = self.skip_weights[index - self.num_encoder_layers]
                stream = stream + weight.to(stream.dtype) * skips.pop()
            stream = block(stream, embedded, *tables)
            if index < self.num_encoder_layers:
                skips.append(stream)
        return rms_norm(stream)

    def _embed(self, input_ids: Tensor) -> Tensor:  # (B, T) → (B, T, C)
        embedded = self.tok_emb(input_ids)
        if self.bigram_hash is not None:
            embedded = embedded + self.bigram_hash(input_ids)
        if self.smeargate is not None:
            embedded = self.smeargate(embedded)
        return rms_norm(embedded)
