"""Does the text's own order suit a script better than orders drawn by lot?

Documents stand in blocks of neighbours, and every block has two orders: its own, and one that is
drawn. A coin for each block says which of the two stands in the first tape; the other stands in
the second. If the order of documents means nothing, the coins have nothing to do with any loss,
whatever a script carries from block to block and however the tapes went as a whole. Who has learned
the text by heart across the borders of documents does better where a block stands as he knows it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from verifier.probe.tapes.variants import Sample, Variant

MAX_BLOCKS = 24
MIN_BLOCK_DOCUMENTS = 2
DECIDING_BLOCKS = 17
"""Fewer coins fall alike too often to tell anything (rules/remembered_order.yaml)."""
NUM_LOTS = 999_999
LOTS_AT_ONCE = 50_000


def blocks(sample: Sample) -> list[list[slice]]:
    """The documents, in blocks of neighbours; the last, which may be cut off, is in none."""
    documents = sample.documents[:-1]
    count = min(MAX_BLOCKS, max(len(documents) // MIN_BLOCK_DOCUMENTS, 1))
    bounds = np.linspace(0, len(documents), count + 1).astype(int).tolist()
    return [documents[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]


def can_decide(sample: Sample) -> bool:
    """Whether there are documents enough for their order to be told from others."""
    return len(blocks(sample)) >= DECIDING_BLOCKS


def rearrange(sample: Sample, rng: np.random.Generator) -> Variant:
    """All documents in a drawn order, but for the last, which may be cut off."""
    *documents, last = np.split(np.arange(len(sample.tokens)), np.flatnonzero(sample.is_start)[1:])
    drawn = rng.permutation(len(documents))
    return _variant(sample, "shuffled", np.concatenate([*(documents[i] for i in drawn), last]))


def draw_orders(sample: Sample, rng: np.random.Generator) -> tuple[Variant, Variant]:
    """Two tapes: where a block has its own order in one, it has a drawn one in the other.

    The sample has documents enough to decide.
    """
    places: tuple[list[NDArray[np.int64]], ...] = ([], [])
    everywhere, last = np.arange(len(sample.tokens)), sample.documents[-1]
    for block in blocks(sample):
        drawn = np.arange(len(block))
        while (drawn == np.arange(len(block))).all():
            drawn = rng.permutation(len(block))
        own_place = int(rng.integers(2))
        places[own_place].extend(everywhere[document] for document in block)
        places[1 - own_place].extend(everywhere[block[i]] for i in drawn)
    first, second = (np.concatenate([*parts, everywhere[last]]) for parts in places)
    return _variant(sample, "shuffled_1", first), _variant(sample, "shuffled_2", second)


def assess_orders(
    sample: Sample, tapes: Sequence[Variant], losses: Sequence[NDArray[np.float64]]
) -> dict[str, float | int]:
    """Whether blocks in their own order have the lower losses: the fields of a record.

    Args:
        sample: the documents in their own order.
        tapes: both, as they were drawn.
        losses: of each tape.
    """
    end = min(map(len, losses))
    spans = [slice(block[0].start, block[-1].stop - 1) for block in blocks(sample)]
    spans = [span for span in spans if span.stop <= end]
    if not spans:
        return {}
    own = np.array([np.diff(tapes[0].places[span]).min() > 0 for span in spans])
    gains = np.array([losses[1][span].sum() - losses[0][span].sum() for span in spans])
    signs = np.where(own, 1.0, -1.0)
    # What all blocks of one tape have in common is that tape's luck.
    centred = gains - gains.mean()
    num_targets = sum(span.stop - span.start for span in spans)
    return {
        "num_blocks": len(spans),
        "order_p": _chance(centred, signs),
        "order_gain_nats": float((signs * gains).sum() / num_targets),
    }


def _variant(sample: Sample, name: str, places: NDArray[np.int64]) -> Variant:
    return Variant(kind="shuffled", name=name, tokens=sample.tokens[places], places=places)


def _chance(gains: NDArray[np.float64], signs: NDArray[np.float64]) -> float:
    """The share of other coins that make as large a sum, those that fell included.

    It is drawn by a fixed seed: judged again, the same losses give the same number.
    """
    rng, real, as_large = np.random.default_rng(0), float(signs @ gains), 1
    slack = 1e-9 * float(np.abs(gains).sum())
    for begin in range(0, NUM_LOTS, LOTS_AT_ONCE):
        count = min(LOTS_AT_ONCE, NUM_LOTS - begin)
        coins = 2.0 * rng.integers(2, size=(count, len(gains))) - 1.0
        as_large += int((coins @ gains >= real - slack).sum())
    return as_large / (NUM_LOTS + 1)
