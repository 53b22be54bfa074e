"""The transformer, top to bottom.

B batch, T tokens, C channels, V vocabulary, S boundaries. Parameters keep the names of the public
scripts where these have them.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.kernels.softcapped_cross_entropy.triton_kernel import head_losses
from trainer.kernels.triton_jit import runs_kernels
from trainer.model.attention import Surroundings
from trainer.model.attention_kernels import document_attention, flash_for_rows, row_attention
from trainer.model.block import Block
from trainer.model.deltas import Deltas
from trainer.model.embeddings import BigramHash, InputSmearGate, SmearGate, ValueEmbeddings
from trainer.model.initialization import orthogonalize_, overtone_, phase_
from trainer.model.lanes import Lanes, two_lanes
from trainer.model.linear import CastedLinear, product_type, rms_norm
from trainer.model.memory import Memory
from trainer.model.rotary import ntk_base, rotary_tables
from trainer.model.softcap import SignedSoftcap
from trainer.model.topology import num_skips, topology
from trainer.recipe import ModelOptions

Result = TypeVar("Result")


class Carrier(Protocol):
    """Carries out a part of a forward pass: a block, a skip, the head."""

    def __call__(self, part: Callable[..., Result], *inputs: object, **more: object) -> Result: ...


def carried_out(part: Callable[..., Result], *inputs: object, **more: object) -> Result:
    """What a part of a forward pass makes of its inputs."""
    return part(*inputs, **more)


class GPT(nn.Module):
    """Token ids and targets in, the loss of each target in nats out.

    The blocks are gone through in the order of `topology`: its first half leaves its outputs on a
    stack, its second half takes them back, last in, first out, each channel with a learnt weight
    (a U-Net over depth).
    """

    cosine: Tensor  # (T, R/2)
    sine: Tensor  # (T, R/2)

    def __init__(self, options: ModelOptions, num_positions: int) -> None:
        super().__init__()
        self.options = options
        self.row_flash = flash_for_rows(options)
        self.document_flash = self.row_flash  # whoever packs rows asks for the best there is
        self.softcap = options.logit_softcap
        self.signed_softcap = None
        if options.asym_logit_rescale:
            self.signed_softcap = SignedSoftcap(options.logit_softcap)
        self.tok_emb = nn.Embedding(options.vocab_size, options.model_dim)
        self.bigram_hash = None
        if options.bigram_hash_buckets:
            self.bigram_hash = BigramHash(
                options.bigram_hash_buckets, options.bigram_hash_dim, options.model_dim
            )
        self.smeargate = SmearGate(options.model_dim) if options.use_smeargate else None
        self.smear_gate = InputSmearGate(options) if options.smear_gate_enabled else None
        self.ve_shared = ValueEmbeddings(options) if options.ve_enabled else None
        self.skip_weights = nn.Parameter(torch.ones(num_skips(options), options.model_dim))
        self.skip_gates = None
        if options.skip_gates_enabled:
            self.skip_gates = nn.Parameter(torch.zeros(num_skips(options), options.model_dim))
        self.blocks = nn.ModuleList(Block(options, layer) for layer in range(options.num_layers))
        self.lanes = two_lanes(options)
        self.through: Carrier = carried_out
        self.lm_head = None
        if not options.tie_embeddings:
            self.lm_head = CastedLinear(options.model_dim, options.vocab_size, zero_init=True)
        self._initialize()
        self.use_positions(num_positions)
        self.use_loops(wanted=True)

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

    def use_positions(self, num_positions: int, longest_document: int = 0) -> None:
        """Be ready for rows of up to so many tokens, turned as that length wants it.

        Args:
            num_positions: the most tokens of a row.
            longest_document: the most tokens of a document in packed rows; 0: of a row.
        """
        options = self.options
        self.longest_document = longest_document or num_positions
        rope_dims = options.rope_dims or options.head_dim
        base = options.rope_base
        if options.rope_train_seq_len > 0:
            base = ntk_base(base, self.longest_document, options.rope_train_seq_len, rope_dims)
        device = self.tok_emb.weight.device
        for name, table in zip(
            ("cosine", "sine"), rotary_tables(num_positions, rope_dims, base), strict=True
        ):
            self.register_buffer(name, table.to(device), persistent=False)

    def use_loops(self, *, wanted: bool) -> None:
        """Go through looped blocks again and again, or through every block once."""
        self.is_looped = self.options.num_loops > 0 and wanted
        self.steps = topology(self.options, looped=self.is_looped)

    def forward(
        self,
        input_ids: Tensor,  # (B, T) int64
        target_ids: Tensor,  # (B, T) int64, or of scored inputs alone
        *,
        boundaries: Tensor | None = None,  # (S,) int32: of documents, if rows are not one each
        deltas: Deltas | None = None,  # what adapters add
        scored: Tensor | None = None,  # (L,) int64: which inputs' targets are asked for, if not all
    ) -> Tensor:  # (B * T,) fp32, or (B * L,)
        """The cross-entropy of each target, in nats."""
        stream = self.final_stream(input_ids, boundaries=boundaries, deltas=deltas)
        return self.through(self._losses, stream, target_ids, scored, deltas=deltas)

    def _losses(
        self,
        stream: Tensor,  # (B, T, C)
        target_ids: Tensor,  # (B, T) int64, or (B, L)
        scored: Tensor | None,  # (L,) int64
        *,
        deltas: Deltas | None = None,
    ) -> Tensor:  # (B * T,) fp32, or (B * L,)
        if scored is not None:
            stream = stream.index_select(1, scored)
        if self.options.fused_ce_enabled and deltas is None and runs_kernels(stream):
            head = self.tok_emb.weight if self.lm_head is None else self.lm_head.weight
            rows = stream.flatten(0, 1).to(product_type(stream))
            return head_losses(rows, head.to(rows.dtype), target_ids.flatten(), self.softcap)
        logits = self._logits(stream, deltas=deltas)
        return F.cross_entropy(logits, target_ids.flatten(), reduction="none")

    def read_on(
        self,
        input_ids: Tensor,  # (B, T) int64: what comes behind the tokens that the memory holds
        memory: Memory,
        *,
        deltas: Deltas | None = None,
    ) -> Tensor:  # (B, V) fp32
        """The log-probabilities of each row's next token."""
        first, end = memory.num_read, memory.num_read + input_ids.size(1)
        around = Surroundings(
            cosine=self.cosine[first:end],
            sine=self.sine[first:end],
            attention=memory.attend,
            value_embeddings=None if self.ve_shared is None else self.ve_shared(input_ids),
        )
        embedded = self._embed(memory.with_last(input_ids))[:, first - end :]
        stream = self._through_blocks(embedded, around, deltas=deltas)
        memory.advance(input_ids)
        return self._logits(stream[:, -1:], deltas=deltas).log_softmax(dim=-1)

    def _logits(
        self,
        stream: Tensor,  # (B, T, C)
        *,
        deltas: Deltas | None = None,
    ) -> Tensor:  # (B * T, V) fp32
        head = self.tok_emb.weight if self.lm_head is None else self.lm_head.weight
        raw = F.linear(stream.flatten(0, 1), head.to(stream.dtype))
        if deltas is not None and deltas.head is not None:
            raw = raw + deltas.head(stream).flatten(0, 1)
        if self.signed_softcap is None:
            bounded = self.softcap * torch.tanh(raw / self.softcap)
        else:
            bounded = self.signed_softcap(raw)
        return bounded.float()

    def final_stream(
        self,
        input_ids: Tensor,  # (B, T) int64
        *,
        boundaries: Tensor | None = None,  # (S,) int32
        deltas: Deltas | None = None,
    ) -> Tensor:  # (B, T, C)
        """What the head sees."""
        around = self._surroundings(input_ids, boundaries=boundaries)
        return self._through_blocks(self._embed(input_ids), around, deltas=deltas)

    def _through_blocks(
        self,
        embedded: Tensor,  # (B, T, C)
        around: Surroundings,
        *,
        deltas: Deltas | None = None,
    ) -> Tensor:  # (B, T, C)
        stream = embedded
        skips: list[Tensor] = []
        lanes: Lanes | None = None
        for place, step in enumerate(self.steps):
            block = self.blocks[step.layer]
            own_deltas = None if deltas is None else deltas.blocks[place]
            before_skip = stream
            if step.skip is not None:
                stream = self.through(with_skip, stream, skips.pop(), *self._skip_rows(step.skip))
            if self.lanes is not None and step.has_two_lanes:
                lanes = (stream, lanes[1]) if lanes else self.lanes.open(before_skip, stream)
                inputs = block, lanes, embedded, around, *self.lanes.of(step.layer)
                lanes = self.through(self.lanes.use, *inputs, deltas=own_deltas)
                stream = lanes[0]
            else:
                stream = self.through(block, stream, embedded, around, deltas=own_deltas)
            if step.keeps:
                skips.append(stream)
        if self.lanes is not None and lanes is not None:
            stream = self.lanes.join(lanes)
        return rms_norm(stream)

    def _surroundings(self, input_ids: Tensor, *, boundaries: Tensor | None = None) -> Surroundings:
        num_tokens = input_ids.size(1)
        attention = row_attention(self.options, flash=self.row_flash)
        if boundaries is not None:
            attention = document_attention(
                boundaries, input_ids.shape, self.longest_document, flash=self.document_flash
            )
        return Surroundings(
            cosine=self.cosine[:num_tokens],
            sine=self.sine[:num_tokens],
            attention=attention,
            value_embeddings=None if self.ve_shared is None else self.ve_shared(input_ids),
        )

    def _skip_rows(self, row: int) -> tuple[Tensor, Tensor | None]:  # (C,) each
        gates = self.skip_gates
        return self.skip_weights[row], None if gates is None else gates[row]

    def _embed(self, input_ids: Tensor) -> Tensor:  # (B, T) → (B, T, C)
        embedded = self.tok_emb(input_ids)
        if self.options.bf16_stream_enabled:
            embedded = embedded.to(product_type(embedded))
        if self.bigram_hash is not None:
            embedded = embedded + self.bigram_hash(input_ids)
        if self.smeargate is not None:
            embedded = self.smeargate(embedded)
        if self.smear_gate is not None:
            embedded = self.smear_gate(embedded, input_ids)
        return rms_norm(embedded)


def with_skip(
    stream: Tensor,  # (B, T, C)
    skip: Tensor,  # (B, T, C) what an earlier block left
    weight: Tensor,  # (C,)
    gate: Tensor | None,  # (C,)
) -> Tensor:  # (B, T, C)
    """The stream with a skip added, or mixed in by a gate's share."""
    weighted = weight.to(stream.dtype) * skip
    if gate is None:
        return stream + weighted
    return torch.lerp(weighted, stream, torch.sigmoid(gate.to(stream.dtype)))
