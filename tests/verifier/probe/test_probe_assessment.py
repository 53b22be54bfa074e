"""What losses of changed tapes tell, for ways of scoring that are honest and not."""

import numpy as np
import pytest

from verifier.probe.asking import ask
from verifier.probe.scored import Scored, usable
from verifier.probe.tapes.variants import Sample, plain

HONEST = ("plain", "sliding_window", "per_document", "pair_mix", "score_first", "gradient_steps")
LATE = ("two_passes", "best_of_passes", "many_epochs", "train_then_score", "future_statistics")


def moved(record) -> float:
    return max(m.in_document_nats or 0 for m in record.moves if m.kind in ("flip", "poison"))


@pytest.mark.parametrize("mode", [*HONEST, "byte_level", "unscored_starts"])
def test_honest_ways_move_nothing_before_a_change_and_win_no_bets(assessed, mode):
    record = assessed(mode, promise=None)
    assert moved(record) == 0 and record.noise_nats is None, "nothing for noise to explain"
    assert record.vocabulary_odds_nats < 7 and record.deaf_drawn < 10
    assert 0.5 < record.vocabulary_sum < 1 + 6 * record.vocabulary_error


@pytest.mark.parametrize("mode", [*LATE, "learned_chunk", "next_word", "prefetched"])
def test_ways_that_know_what_comes_move_losses_before_a_change(assessed, mode):
    assert moved(assessed(mode)) > 0.01


def test_what_is_done_far_into_long_documents_alone_is_asked_for(assessed, world, monkeypatch):
    starts = np.flatnonzero(world.tape.tokens == world.tape.tokens[0])
    monkeypatch.setattr("scored_script.LATE", int(np.diff(starts).max()) // 3)
    records = [assessed("late_learning", secret) for secret in (2, 3)]
    assert all(moved(record) > 0.01 for record in records)


def test_a_document_that_is_learned_ahead_and_forgotten_moves_others_alone(assessed):
    record = assessed("neighbour_ahead")
    assert moved(record) == 0
    assert max(m.earlier_nats or 0 for m in record.moves if m.kind == "poison") > 0.01


@pytest.mark.parametrize(
    "mode", ["hashed_cache", "unnormalised_cache", "target_gate", "document_ends"]
)
def test_ways_that_reward_whatever_comes_add_up_to_more_than_one(assessed, mode):
    record = assessed(mode)
    assert moved(record) == 0
    assert record.vocabulary_sum > 1.2 and record.vocabulary_odds_nats > 14


def test_a_tail_with_made_up_losses_is_deaf(assessed):
    record = assessed("dropped_tail")
    assert record.deaf_drawn > 64 and record.deaf_from > 0.85 * record.num_targets


@pytest.mark.parametrize(("mode", "is_alone"), [("per_document", True), ("reset_omitted", False)])
def test_documents_that_hang_on_others_have_other_losses_alone(assessed, mode, is_alone):
    largest = [m.largest_nats for m in assessed(mode).moves if m.kind in ("alone", "shuffled")]
    assert (max(largest) == 0) == is_alone


def test_text_that_is_looked_up_is_easier_than_what_was_learned(assessed, world, monkeypatch):
    honest = assessed("plain")
    assert abs(honest.over_training_nats) < 6 * honest.over_training_error + 0.1
    monkeypatch.setattr("scored_script.STORED", world.tape.tokens.tolist())
    stored = assessed("stored_text")
    assert stored.over_training_nats < -0.2 - 6 * stored.over_training_error
    assert moved(stored) == 0 and stored.vocabulary_odds_nats < 7


def test_losses_that_cannot_be_set_against_tokens_are_not_used():
    variant = plain(_sample(), "base")
    for losses in (None, np.ones(9_000), np.array([]), np.full(9, np.nan), -np.ones(9)):
        kept, why = usable(variant, Scored(losses=losses, detail="exit code 1", wall_seconds=1.0))
        assert kept is None and why


def test_a_script_that_fails_on_the_sample_is_not_evaluated():
    sample = _sample()
    planned = [plain(sample, "base"), plain(sample, "repeat")]
    failed = Scored(losses=None, detail="exit code 1: no CUDA", wall_seconds=1.0)
    record = ask(sample, planned, lambda variant: failed, "ab")
    assert (
        "no CUDA" in record.not_evaluated
        and record.num_losses is None
        and record.num_evaluations == 1
    )


def _sample() -> Sample:
    tokens = np.random.default_rng(2).integers(2, 60, 2_000).astype(np.uint16)
    tokens[[0, 900]] = 1
    return Sample(tokens=tokens, begin=0)
