"""What goes with the token embedding: the token before, the pair of both, values of their own.

B batch, T tokens, C channels, V vocabulary.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.model.linear import CastedLinear
from trainer.recipe import BOS_ID, ModelOptions

BIGRAM_MULTIPLIER = 92_821  # of the token before, in the hash (#65)
BIGRAM_INIT_STD = 0.01
SMEAR_GATE_INIT = 3.0  # sigmoid(3) = 0.95: at first nearly all is the token's own
VALUE_EMBEDDING_INIT_STD = 0.01
VALUE_EMBEDDING_SCALE_INIT = 0.1


class SmearGate(nn.Module):
    """Mix each position with the one before it, channel by channel (#65).

    x_t becomes g x_t + (1 - g) x_(t-1) with g = sigmoid(gate); before the first lies zero.
    """

    def __init__(self, model_dim: int) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.full((model_dim,), SMEAR_GATE_INIT))

    def forward(self, embedded: Tensor) -> Tensor:  # (B, T, C) → (B, T, C)
        own = torch.sigmoid(self.gate).to(embedded.dtype)
        before = F.pad(embedded, (0, 0, 1, 0))[:, :-1]
        return own * embedded + (1 - own) * before


class InputSmearGate(nn.Module):
    """Add a share of the embedding before, as large as the token's own wants it (#1667).

    x_t becomes x_t + strength * sigmoid(w · x_t[:window]) * x_(t-1). Both start at zero, so that a
    model starts as if it had no such gate. Nothing is added at a BOS (#1851): the token before
    belongs to another document.
    """

    def __init__(self, options: ModelOptions) -> None:
        super().__init__()
        self.gate = CastedLinear(options.gate_window, 1, zero_init=True)
        self.strength = nn.Parameter(torch.zeros(1))
        self.stops_at_bos = options.smear_gate_bos_fix

    def forward(
        self,
        embedded: Tensor,  # (B, T, C)
        input_ids: Tensor,  # (B, T) int64
    ) -> Tensor:  # (B, T, C)
        seen = embedded[:, 1:, : self.gate.in_features]
        share = self.strength.to(embedded.dtype) * torch.sigmoid(self.gate(seen))
        if self.stops_at_bos:
            share = share * (input_ids[:, 1:, None] != BOS_ID)
        return torch.cat((embedded[:, :1], embedded[:, 1:] + share * embedded[:, :-1]), dim=1)


class ValueEmbeddings(nn.Module):
    """A second embedding of each token, added to the values of some blocks (#374).

    One table for all of them, projected to the values' channels, and a learnt scale for each.
    """

    def __init__(self, options: ModelOptions) -> None:
        super().__init__()
        self.layers = [int(number) for number in options.ve_layers.split(",")]
        self.embed = nn.Embedding(options.vocab_size, options.ve_dim)
        nn.init.normal_(self.embed.weight, std=VALUE_EMBEDDING_INIT_STD)
        self.proj = None
        if options.ve_dim != options.kv_dim:
            self.proj = CastedLinear(options.ve_dim, options.kv_dim, zero_init=True)
        self.scale = nn.Parameter(torch.tensor(VALUE_EMBEDDING_SCALE_INIT))
        self.layer_scales = nn.Parameter(torch.ones(len(self.layers)))

    def forward(self, input_ids: Tensor) -> dict[int, Tensor]:  # layer → (B, T, kv_dim)
        shared = self.embed(input_ids)
        shared = shared if self.proj is None else self.proj(shared)
        shared = shared * self.scale.to(shared.dtype)
        scales = self.layer_scales.to(shared.dtype)
        return {layer: shared * scales[index] for index, layer in enumerate(self.layers)}


class BigramHash(nn.Module):
    """An embedding of each token and the one before it, from a table that pairs share (#65).

    Pair (p, t) has bucket (92821 p + t) mod the table's rows; p is 0 at the first position. The
    projection starts at zero, so that a model starts as if it had no such table.
    """

    def __init__(self, num_buckets: int, hash_dim: int, model_dim: int) -> None:
        super().__init__()
        self.table = nn.Embedding(num_buckets, hash_dim)
        self.proj = CastedLinear(hash_dim, model_dim, zero_init=True)
        nn.init.normal_(self.table.weight, std=BIGRAM_INIT_STD)

    def forward(self, input_ids: Tensor) -> Tensor:  # (B, T) int64 → (B, T, C)
        before = F.pad(input_ids, (1, 0))[:, :-1]
        buckets = (before * BIGRAM_MULTIPLIER + input_ids) % self.table.num_embeddings
        projected: Tensor = self.proj(self.table(buckets))
        return projected
