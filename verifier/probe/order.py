"""Does the text's own order suit a script better than orders drawn by lot?

Documents are rearranged within blocks of neighbours, so that each block holds the same tokens at
the same places whatever the order. If documents come in no order that means anything, the one that
they have ranks among the drawn ones as any of these does: evenly. Who has learned the text by heart
across the borders of documents does best in the order that he learned.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from verifier.probe.variants import Sample, Variant

NUM_ORDERS = 3
MAX_BLOCKS = 16
MIN_BLOCK_DOCUMENTS = 4


def blocks(sample: Sample) -> list[list[slice]]:
    """The documents, in blocks of neighbours."""
    documents = sample.documents
    count = min(MAX_BLOCKS, max(len(documents) // MIN_BLOCK_DOCUMENTS, 1))
    bounds = np.linspace(0, len(documents), count + 1).astype(int).tolist()
    return [documents[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]


def draw_orders(sample: Sample, rng: np.random.Generator) -> list[Variant]:
    """The sample with the documents of every block in a drawn order, so many times."""
    everywhere, variants = np.arange(len(sample.tokens)), []
    for number in range(1, NUM_ORDERS + 1):
        order = [block[i] for block in blocks(sample) for i in rng.permutation(len(block))]
        places = np.concatenate([everywhere[document] for document in order])
        name = f"shuffled_{number}"
        variants.append(
            Variant(kind="shuffled", name=name, tokens=sample.tokens[places], places=places)
        )
    return variants


def assess_orders(
    sample: Sample, own: NDArray[np.float64], drawn: Sequence[NDArray[np.float64]]
) -> dict[str, float | int]:
    """How the sample's own order ranks: the fields of a record.

    Args:
        sample: the documents in their own order.
        own: (N,) its losses.
        drawn: the losses of each drawn order.
    """
    end = min(map(len, [own, *drawn]))
    spans = [slice(block[0].start, block[-1].stop - 1) for block in blocks(sample)]
    spans = [span for span in spans if span.stop <= end]
    if not spans or not drawn:
        return {}
    sums = np.array([[losses[span].sum() for span in spans] for losses in (own, *drawn)])
    # The last digits of a sum hang on the order of its terms.
    rank = int((sums[1:] <= sums[0] * (1 + 1e-12)).sum())
    num_targets = sum(span.stop - span.start for span in spans)
    return {
        "num_blocks": len(spans),
        "order_p": _chance(rank, len(spans), len(drawn)),
        "order_gain_nats": float((sums[1:].mean(axis=0) - sums[0]).sum() / num_targets),
    }


def _chance(rank: int, num_blocks: int, num_orders: int) -> float:
    """That so many blocks' ranks, each even on 0 … num_orders, add up to `rank` or less."""
    even = np.full(num_orders + 1, 1.0 / (num_orders + 1))
    law = np.ones(1)
    for _ in range(num_blocks):
        law = np.convolve(law, even)
    return float(min(law[: rank + 1].sum(), 1.0))
