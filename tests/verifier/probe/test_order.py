"""The text's own order among drawn ones: it ranks evenly, unless it was learned."""

import numpy as np
import pytest

from verifier.probe.order import NUM_ORDERS, assess_orders, blocks, draw_orders
from verifier.probe.variants import Sample


@pytest.fixture
def sample() -> Sample:
    tokens = np.random.default_rng(2).integers(2, 60, 6_000).astype(np.uint16)
    tokens[::50] = 1
    return Sample(tokens=tokens, begin=0)


def test_every_block_keeps_its_tokens(sample):
    for variant in draw_orders(sample, np.random.default_rng(1)):
        assert (variant.tokens != sample.tokens).any()
        assert (variant.tokens == sample.tokens[variant.places]).all()
        for block in blocks(sample):
            span = slice(block[0].start, block[-1].stop)
            assert sorted(variant.tokens[span]) == sorted(sample.tokens[span])


def test_ranks_of_an_order_that_means_nothing_are_spread_evenly(sample):
    rng, p_values = np.random.default_rng(4), []
    for _ in range(200):
        own, *drawn = rng.exponential(size=(1 + NUM_ORDERS, len(sample.tokens) - 1))
        p_values.append(assess_orders(sample, own, drawn)["order_p"])
    assert np.mean(np.array(p_values) <= 0.1) <= 0.16 and np.mean(p_values) > 0.45


def test_a_score_that_no_order_moves_ranks_last(assessed):
    assert assessed("plain").order_p > 0.05


def test_who_knows_which_document_follows_is_found(assessed, world, monkeypatch):
    monkeypatch.setattr("scored_script.STORED", world.tape.tokens.tolist())
    record = assessed("stored_order")
    assert record.order_p < 0.01 and record.order_gain_nats > 0.005
    assert record.vocabulary_odds_nats < 7 and record.over_training_nats > -0.2
