"""Drawn tokens strewn into the sample: where they stand, and that their law is the one told."""

import numpy as np

from verifier.probe.tapes.strewn import MIN_DOCUMENT_TOKENS, draw_spliced, surprisal
from verifier.probe.tapes.variants import Sample

BOS = 1
TEXT = np.random.default_rng(5).integers(2, 60, 40_000).astype(np.uint16)
TEXT[[0, 700, 1_500, 1_510, 30_000]] = BOS
SAMPLE = Sample(tokens=TEXT, begin=0)


def spliced(seed: int):
    return draw_spliced(SAMPLE, np.random.default_rng(seed))


def test_what_is_not_drawn_stays_and_a_quarter_is_drawn():
    variant = spliced(7)
    assert set(np.flatnonzero(variant.tokens != TEXT)) <= set(variant.spliced)
    assert 0.2 < len(variant.spliced) / len(TEXT) < 0.3
    assert (variant.tokens[TEXT == BOS] == BOS).all()
    assert (variant.tokens != spliced(8).tokens).any()


def test_documents_start_where_none_did_and_none_is_next_to_empty():
    starts = np.flatnonzero(spliced(7).tokens == BOS)
    assert 40 < len(starts) < 140
    new = [(a, b) for a, b in zip(starts, starts[1:], strict=False) if (a, b) != (1_500, 1_510)]
    assert min(b - a for a, b in new) >= MIN_DOCUMENT_TOKENS


def test_a_predictor_that_knows_the_law_wins_nothing():
    """The mean of q/r over draws is what q adds up to, for starts as for words."""
    is_start, chances = [], []
    for seed in range(40):
        variant = spliced(seed)
        drawn = variant.tokens[variant.spliced]
        is_start.append(drawn == BOS)
        chances.append(np.exp(-surprisal(SAMPLE, variant.tokens, variant.spliced)))
    q = np.where(np.concatenate(is_start), 0.3, 0.7 / 58)
    ratios = q / np.concatenate(chances)
    error = ratios.std() / np.sqrt(len(ratios))
    # Less than one where it expects a start near another one, which the law never draws there.
    assert error < 0.01 and 0.95 < ratios.mean() < 1 + 4 * error
