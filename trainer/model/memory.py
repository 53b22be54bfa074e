"""What attention keeps of tokens that were read, so that the next one alone is computed.

B rows, T tokens, H query heads, K key-value heads, D channels of a head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.model.attention_kernels import causal_attention

EMBEDDED_BEFORE = 2  # tokens that an embedding looks back on: mixed with one that saw its own


class Memory:
    """Keys and values of rows of like length: read first in one go, then token by token."""

    def __init__(self, most_tokens: int) -> None:
        self.most_tokens = most_tokens
        self.num_read = 0
        self.last_ids: Tensor | None = None  # (B, 1 or 2) int64
        self._held: list[tuple[Tensor, Tensor]] = []  # (B, most, K, D) each, in order of use
        self._place = 0

    def attend(
        self,
        queries: Tensor,  # (B, T, H, D)
        keys: Tensor,  # (B, T, K, D)
        values: Tensor,  # (B, T, K, D)
    ) -> Tensor:  # (B, T, H, D)
        """Attention of the new tokens, all of the first reading or one, to all before."""
        if self._place == len(self._held):
            rows, _, heads, channels = keys.shape
            shape = (rows, self.most_tokens, heads, channels)
            self._held.append((keys.new_empty(shape), values.new_empty(shape)))
        held_keys, held_values = self._held[self._place]
        self._place += 1
        end = self.num_read + keys.size(1)
        held_keys[:, self.num_read : end] = keys
        held_values[:, self.num_read : end] = values
        if self.num_read == 0:
            return causal_attention(queries, keys, values)
        gathered = F.scaled_dot_product_attention(
            queries.transpose(1, 2),
            held_keys[:, :end].transpose(1, 2),
            held_values[:, :end].transpose(1, 2),
            enable_gqa=queries.size(2) != keys.size(2),
        )
        return gathered.transpose(1, 2)

    def with_last(self, input_ids: Tensor) -> Tensor:  # (B, T) → (B, T and up to 2 more) int64
        """The new tokens behind those before them that some embeddings look at."""
        return input_ids if self.last_ids is None else torch.cat((self.last_ids, input_ids), dim=1)

    def advance(self, input_ids: Tensor) -> None:
        """A pass over the new tokens (B, T) is over."""
        self._place = 0
        self.num_read += input_ids.size(1)
        self.last_ids = self.with_last(input_ids)[:, -EMBEDDED_BEFORE:]
