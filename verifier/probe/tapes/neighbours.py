"""Every second document keeps its words, and the others get drawn ones in their places.

All documents begin where they did, so whatever is laid out by them is laid out as before: windows,
rows, batches, the order of scoring. A loss in a document that was kept can move only by what
reaches it from another one. Unlike a document that is scored alone this asks half of them at once,
and no other place in a window excuses a move.
"""

import numpy as np
from numpy.typing import NDArray

from verifier.probe.tapes.variants import Law, Sample, Variant


def replace_neighbours(sample: Sample, law: Law, rng: np.random.Generator) -> Variant:
    """The sample with drawn words in every second document, those that come first or the others."""
    tokens = sample.tokens.copy()
    for document in sample.documents[int(rng.integers(2)) :: 2]:
        begin = document.start + 1
        tokens[begin : document.stop] = law.draw(document.stop - begin, rng)
    return Variant(
        kind="neighbours", name="neighbours", tokens=tokens, places=np.arange(len(tokens))
    )


def is_kept(sample: Sample, variant: Variant) -> NDArray[np.bool_]:
    """(M + 1,) which tokens of the variant lie in documents that are what they were."""
    same = sample.tokens == variant.tokens
    return np.concatenate([np.full(d.stop - d.start, same[d].all()) for d in sample.documents])
