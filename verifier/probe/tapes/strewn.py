"""The sample with drawn tokens strewn in, and how likely each of them was.

Words are drawn, and now and then the start of a document. Whoever is told where documents end, by
the lengths of what he laid out in batches for one, gives the next start more than it is likely;
among words alone nobody would see it.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from verifier.probe.tapes.variants import Sample, Tokens, Variant, law_of

SPLICED_SHARE = 0.25
START_CHANCE = 1 / 128
"""Of the drawn tokens, where a document may start: some hundred more in a full sample."""
MIN_DOCUMENT_TOKENS = 16
"""No document becomes shorter than this, since none of the real ones is next to empty."""


def draw_spliced(sample: Sample, rng: np.random.Generator) -> Variant:
    """The sample with tokens drawn by a known law strewn in, each by itself."""
    is_drawn = (rng.random(len(sample.tokens)) < SPLICED_SHARE) & ~sample.is_start
    places = np.flatnonzero(is_drawn)
    tokens = sample.tokens.copy()
    tokens[places] = law_of(sample).draw(len(places), rng)
    tokens[_new_starts(sample, places[rng.random(len(places)) < START_CHANCE])] = tokens[0]
    everywhere = np.arange(len(tokens))
    return Variant(kind="spliced", name="spliced", tokens=tokens, places=everywhere, spliced=places)


def surprisal(sample: Sample, tokens: Tokens, places: NDArray[np.int64]) -> NDArray[np.float64]:
    """−ln of the chance that the tape's tokens at drawn places had, in nats, given all before."""
    drawn, start = tokens[places], sample.tokens[0]
    is_open = _may_start(sample, tokens == start, places)
    nats = np.where(is_open, -np.log1p(-START_CHANCE), 0.0)
    nats[drawn == start] = -np.log(START_CHANCE)
    is_word = drawn != start
    nats[is_word] += law_of(sample).surprisal(drawn[is_word])
    return nats


def _new_starts(sample: Sample, wanted: Iterable[int]) -> list[int]:
    """Those of ascending places that leave no document too short, each given those before it."""
    is_start, taken = sample.is_start.copy(), list[int]()
    for place in wanted:
        if _may_start(sample, is_start, np.array([place])).all():
            is_start[place] = True
            taken.append(place)
    return taken


def _may_start(
    sample: Sample, is_start: NDArray[np.bool_], places: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether a document may start at each place, by what stands before it on the tape.

    What stands behind it is the sample's, whose starts are never replaced, so that nothing that is
    drawn later decides.
    """
    starts, fixed = np.flatnonzero(is_start), np.flatnonzero(sample.is_start)
    ends = np.append(fixed, len(is_start))
    before = places - starts[np.searchsorted(starts, places) - 1]
    behind = ends[np.searchsorted(fixed, places, side="right")] - places
    return np.asarray((before >= MIN_DOCUMENT_TOKENS) & (behind >= MIN_DOCUMENT_TOKENS))
