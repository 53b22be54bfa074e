"""The text's own order beside drawn ones: coins decide, unless the order was learned."""

import numpy as np
import pytest
from evidence_on_file import whole_run

from verifier.pipeline import judge
from verifier.probe.tapes.order import (
    DECIDING_BLOCKS,
    assess_orders,
    blocks,
    can_decide,
    draw_orders,
    rearrange,
)
from verifier.probe.tapes.variants import Sample
from verifier.rulebook import load_rulebook


@pytest.fixture
def sample() -> Sample:
    tokens = np.random.default_rng(2).integers(2, 60, 6_000).astype(np.uint16)
    tokens[::50] = 1
    return Sample(tokens=tokens, begin=0)


def test_every_block_stands_once_in_its_own_order_and_once_in_another(sample):
    first, second = draw_orders(sample, np.random.default_rng(1))
    for block in blocks(sample):
        span = slice(block[0].start, block[-1].stop)
        own = [
            (tape.places[span] == np.arange(span.start, span.stop)).all()
            for tape in (first, second)
        ]
        assert sorted(own) == [False, True]
        assert sorted(first.tokens[span]) == sorted(second.tokens[span])


def test_coins_are_asked_where_they_can_decide_and_not_where_they_cannot(sample):
    max_p = load_rulebook("demo").rules["remembered_order"].parameters["max_p"]
    assert 0.5**DECIDING_BLOCKS <= max_p < 0.5 ** (DECIDING_BLOCKS - 1)
    num_tokens = (2 * DECIDING_BLOCKS + 1) * 50
    assert can_decide(Sample(tokens=sample.tokens[:num_tokens], begin=0))
    assert not can_decide(Sample(tokens=sample.tokens[: num_tokens - 50], begin=0))


def test_an_order_that_could_not_have_been_told_is_not_passed():
    for num_blocks, outcome in (
        (DECIDING_BLOCKS, "passed"),
        (DECIDING_BLOCKS - 1, "not_evaluated"),
    ):
        evidence = whole_run("probe", {"probe.num_blocks": num_blocks})
        verdict = judge(evidence, load_rulebook("10min_16mb"), "readme-strict")
        [rule] = [rule for rule in verdict.rules if rule.rule == "remembered_order"]
        assert rule.outcome == outcome


def test_a_drawn_order_has_every_document_whole(sample):
    tape = rearrange(sample, np.random.default_rng(1))
    assert sorted(tape.places) == list(range(len(sample.tokens)))
    assert (sample.tokens[tape.places] == tape.tokens).all() and (tape.tokens[::50] == 1).all()
    assert (tape.tokens != sample.tokens).mean() > 0.5


def test_nothing_is_won_by_chance_even_where_one_tape_goes_wrong_as_a_whole(sample, monkeypatch):
    monkeypatch.setattr("verifier.probe.tapes.order.NUM_LOTS", 999)
    rng, p_values = np.random.default_rng(4), []
    for _ in range(200):
        tapes = draw_orders(sample, rng)
        losses = rng.exponential(size=(2, len(sample.tokens) - 1))
        losses[1] += np.linspace(0, rng.exponential(), losses.shape[1])  # as if it diverged
        p_values.append(assess_orders(sample, tapes, losses)["order_p"])
    for level in (0.1, 0.5, 0.9):
        assert np.mean(np.array(p_values) <= level) == pytest.approx(level, abs=0.1)


def test_a_score_that_no_order_moves_says_nothing(assessed):
    assert assessed("plain").order_p > 1e-3


def test_who_knows_which_document_follows_is_found(assessed, world, monkeypatch):
    monkeypatch.setattr("scored_script.STORED", world.tape.tokens.tolist())
    record = assessed("stored_order")
    assert record.order_p < 0.01 and record.order_gain_nats > 0.005
    assert record.vocabulary_odds_nats < 7 and record.over_training_nats > -0.2
