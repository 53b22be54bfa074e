"""What adapters add to a model's layers in a forward pass, each document its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

Delta = Callable[[Tensor], Tensor]  # (B, T, inputs) → (B, T, outputs)


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockDeltas:
    """Additions in one use of a block.

    All are functions of the normed input of their sublayer, `out` too: it stands beside the output
    projection and not before it (#1530).
    """

    query: Delta | None = None
    key: Delta | None = None
    value: Delta | None = None
    out: Delta | None = None
    mlp: Delta | None = None

    def onto_heads(
        self, projected: tuple[Tensor, Tensor, Tensor], inputs: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values with what is added to them."""
        queries, keys, values = projected
        return (
            with_delta(queries, self.query, inputs),
            with_delta(keys, self.key, inputs),
            with_delta(values, self.value, inputs),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Deltas:
    """Additions in a forward pass."""

    blocks: Sequence[BlockDeltas]  # one for each step of the topology
    head: Delta | None = None  # to the logits, from the final stream


def with_delta(outputs: Tensor, delta: Delta | None, inputs: Tensor) -> Tensor:
    """Outputs of a layer and what an adapter adds to them."""
    return outputs if delta is None else outputs + delta(inputs)
