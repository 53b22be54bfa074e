"""What goes with the token embedding: the token before, and the pair of both.

B batch, T tokens, C channels, V vocabulary.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.model.linear import CastedLinear

BIGRAM_MULTIPLIER = 92_821  # of the token before, in the hash (#65)
BIGRAM_INIT_STD = 0.01
SMEAR_GATE_INIT = 3.0  # sigmoid(3) = 0.95: at first nearly all is the token's own


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
