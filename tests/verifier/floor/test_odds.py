"""Odds against honesty stay low for whoever is honest, and rise for whoever is not."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from verifier.floor.odds import MAX_LOG_ODDS, MAX_PATH_POINTS, bet, total_log_odds

NUM_TOKENS, NUM_WORDS = 2_000, 50


def honest_ratios(rng: np.random.Generator) -> np.ndarray:
    """ln q/p of a normalised predictor that is off by as much as 0.8 nats a word."""
    truth = rng.dirichlet(np.ones(NUM_WORDS))
    told = truth * np.exp(rng.uniform(-0.8, 0.8, NUM_WORDS))
    told /= told.sum()
    drawn = rng.choice(NUM_WORDS, size=NUM_TOKENS, p=truth)
    return np.log(told / truth)[drawn]


def test_honest_predictors_win_tenfold_in_less_than_a_tenth_of_worlds():
    odds = [bet(honest_ratios(np.random.default_rng(i))).odds_nats for i in range(300)]
    assert np.mean(np.array(odds) >= np.log(10)) < 0.1
    assert min(odds) >= 0


def test_too_much_mass_is_seen_under_a_mismatch_that_hides_it_from_the_total():
    ratios = honest_ratios(np.random.default_rng(1)) + 0.07
    assert ratios.sum() < 0
    assert bet(ratios).odds_nats > np.log(1e6)


def test_what_is_bet_on_last_is_not_lost_by_what_follows():
    ratios = np.concatenate([np.full(100, 1.0), np.full(5_000, -1.0)])
    assert bet(ratios).odds_nats > 90


@given(arrays(np.float64, 20, elements=st.floats(-1e6, 1e6)))
def test_odds_are_numbers_whatever_the_losses(ratios):
    assert 0 <= bet(ratios).odds_nats <= MAX_LOG_ODDS
    assert bet(ratios).odds_nats >= ratios.sum() - np.log(11) - 1e-3


@given(st.integers(1, 1_000))
def test_the_path_ends_with_the_tape_and_peaks_at_the_odds(num_tokens):
    bets = bet(honest_ratios(np.random.default_rng(num_tokens))[:num_tokens])
    assert len(bets.path) <= MAX_PATH_POINTS
    assert bets.path[-1][0] == num_tokens
    assert max(0.0, *(nats for _, nats in bets.path), 0.0) == bets.odds_nats


def test_each_nat_below_the_floor_counts_one():
    assert total_log_odds(1_000.0, 980.0) == 20.0
    assert total_log_odds(1_000.0, float("-inf")) == MAX_LOG_ODDS
