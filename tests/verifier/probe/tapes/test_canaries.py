"""Canaries: nobody knows them before they are shown, unless he learned the text before."""

import numpy as np
import pytest

from verifier.probe.tapes.canaries import (
    CANARY_TOKENS,
    NUM_CANARIES,
    NUM_COPIES,
    assess_canaries,
    plant,
)
from verifier.probe.tapes.variants import Sample, law_of

LOG_A_MILLION = 13.8


@pytest.fixture
def sample() -> Sample:
    tokens = np.random.default_rng(2).integers(2, 60, 4_000).astype(np.uint16)
    tokens[::200] = 1
    return Sample(tokens=tokens, begin=0)


def test_copies_stand_where_they_are_said_to_and_the_text_is_whole(sample):
    planted = plant(sample, law_of(sample), np.random.default_rng(1))
    spans = planted.copies[:, :, None] + np.arange(CANARY_TOKENS)
    words = planted.tokens[spans]
    assert words.shape[:2] == (NUM_CANARIES, NUM_COPIES)
    assert (words == words[:, :1]).all() and (planted.tokens[planted.copies - 1] == 1).all()
    rest = np.delete(planted.tokens, np.append(spans, planted.copies - 1))
    assert (rest == sample.tokens).all()


@pytest.mark.parametrize("mode", ["plain", "score_first", "pair_mix", "gradient_steps"])
def test_honest_ways_know_no_canary(assessed, mode):
    record = assessed(mode)
    assert record.num_canaries == NUM_CANARIES
    assert record.canary_odds_nats < 1 and record.canary_bits < 0


@pytest.mark.parametrize("mode", ["train_then_score", "many_epochs", "two_passes"])
def test_ways_that_learn_the_text_first_know_them(assessed, mode):
    assert assessed(mode).canary_odds_nats > LOG_A_MILLION


def test_whichever_copy_is_scored_first_nothing_is_won_by_chance(sample):
    """A script that knows each canary perfectly after one copy, and scores copies in any order."""
    law, rng = law_of(sample), np.random.default_rng(3)
    for seed in range(5):
        planted = plant(sample, law, np.random.default_rng(seed))
        losses = np.full(len(planted.tokens) - 1, 0.01)
        for copies in planted.copies:
            first = rng.choice(copies) + np.arange(CANARY_TOKENS)
            losses[first - 1] = law.surprisal(planted.tokens[first])
        assert assess_canaries(planted, law, losses, 1e-4)["canary_odds_nats"] <= 0


def test_a_tail_that_is_not_scored_counts_for_no_canary(sample):
    planted = plant(sample, law_of(sample), np.random.default_rng(1))
    assert assess_canaries(planted, law_of(sample), np.ones(3), 1e-4) == {}
