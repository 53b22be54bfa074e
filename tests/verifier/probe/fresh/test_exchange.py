"""Lots among documents: fair where nothing is known, and sharp where something is."""

import numpy as np
import pytest

from verifier.probe.fresh.exchange import PairTable, compare

NUM = 120


@pytest.fixture
def gap(monkeypatch):
    """Compare two halves of made-up documents, one of them easier by `known`."""
    monkeypatch.setattr("verifier.probe.fresh.exchange.NUM_LOTS", 999)

    def call(seed: int, known: float = 0.0, explained: bool = True):
        rng = np.random.default_rng(seed)
        hard, sizes = rng.normal(2.0, 0.4, NUM), rng.geometric(1e-3, NUM).astype(float)
        is_fresh = rng.permutation(NUM) < NUM // 2
        values = hard + rng.normal(0, 0.05, NUM) - known * ~is_fresh
        return compare(values, sizes, [hard] if explained else [], is_fresh, rng)

    return call


def test_p_values_of_what_knows_nothing_are_spread_evenly(gap):
    p_values = np.array([gap(seed).p_value for seed in range(200)])
    for level in (0.1, 0.5, 0.9):
        assert (p_values <= level).mean() == pytest.approx(level, abs=0.1)


def test_a_known_group_is_found_and_its_gap_measured(gap):
    found = gap(1, known=0.1)
    assert found.p_value == 1 / 1000
    assert found.size == pytest.approx(0.1, abs=4 * found.error)


def test_what_pairs_explain_no_longer_hides_a_gap(gap):
    assert gap(2, known=0.1).error < 0.3 * gap(2, known=0.1, explained=False).error


def test_text_like_the_training_data_is_less_hard():
    rng = np.random.default_rng(3)
    training = np.cumsum(rng.choice([1, 7], 20_000)).astype(np.uint16) % 300
    table, like, unlike = PairTable(training), training[500:600], rng.permutation(training[500:600])
    assert table.hardness(like)[1] < 0.5 * table.hardness(unlike)[1]
    assert table.hardness(like)[0] == pytest.approx(table.hardness(unlike)[0], rel=0.05)
