"""What adapters add to a model's layers in a forward pass, each document its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

Delta = Callable[[Tensor], Tensor]  # (B, T, inputs) → (B, T, outputs)


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionDeltas:
    """Additions to attention's layers, (B, T, outputs) each.

    All are made of the normed input of attention, `out` too: it stands beside the output
    projection and not before it (#1530).
    """

    query: Tensor | None = None
    key: Tensor | None = None
    value: Tensor | None = None
    out: Tensor | None = None

    def onto_heads(self, projected: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values with what is added to them."""
        queries, keys, values = projected
        return plus(queries, self.query), plus(keys, self.key), plus(values, self.value)


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockDeltas:
    """Additions in one use of a block, each from the normed input of its sublayer."""

    attention: Callable[[Tensor], AttentionDeltas] | None = None
    mlp: Delta | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Deltas:
    """Additions in a forward pass."""

    blocks: Sequence[BlockDeltas]  # one for each step of the topology
    head: Delta | None = None  # to the logits, from the final stream


def plus(outputs: Tensor, added: Tensor | None) -> Tensor:
    """Outputs of a layer and what an adapter adds to them."""
    return outputs if added is None else outputs + added
