"""A text of the submission's own: drawn as it says, and coded in what it has."""

import numpy as np
import pytest
from stream_text import text

from verifier.probe.sampled import assess_sampled, draw_tape, template, turns
from verifier.probe.scored import Scored
from verifier.schemas.run_record_json import StreamPlan


def plan(piece_tokens: int | None, context_tokens: int) -> StreamPlan:
    return StreamPlan(
        argv=("python",), environment={}, num_lanes=16,
        piece_tokens=piece_tokens, context_tokens=context_tokens,
    )  # fmt: skip


PLANS = [plan(None, 0), plan(32, 0), plan(16, 64), plan(32, 20), plan(None, 50)]


@pytest.fixture(params=PLANS[:3], ids=["documents", "windows", "overlapping"])
def drawn(hold, request):
    """A tape of the page's example, by documents and by windows."""
    tape = text(1)
    groups = turns(template(tape, request.param), request.param)
    return hold(lambda p: draw_tape(tape, groups, p, np.random.default_rng(5)))


@pytest.mark.parametrize("plan", PLANS)
def test_nothing_is_given_that_is_drawn_afterwards(plan):
    tape, is_settled = text(1), np.ones(len(text(1)), dtype=bool)
    rounds = turns(template(tape, plan), plan)
    for piece in (piece for pieces in rounds for piece in pieces):
        is_settled[piece.begin + 1 : piece.end] = False
    num_drawn = (~is_settled).sum()
    for pieces in rounds:
        assert all(is_settled[piece.given_from : piece.begin + 1].all() for piece in pieces)
        for piece in pieces:
            is_settled[piece.begin + 1 : piece.end] = True
    assert num_drawn > 0.4 * len(tape)


def test_each_drawn_token_is_as_likely_as_the_model_says_behind_what_stands_there(drawn, tmp_path):
    rows = np.exp(np.load(tmp_path / "alone" / "model.npy"))
    rows[:, 1] = 0.0  # no start of a document is drawn
    own = (rows / rows.sum(axis=1, keepdims=True))[drawn.tokens[:-1], drawn.tokens[1:]]
    is_drawn = ~np.isnan(drawn.surprisal)
    assert np.allclose(-np.log(own[is_drawn]), drawn.surprisal[is_drawn], atol=1e-4)
    assert 0.3 < is_drawn.mean() < 0.95


def scored(losses: np.ndarray) -> Scored:
    return Scored(losses=losses.astype(np.float32), detail="exit code 0", wall_seconds=1.0)


def test_the_tape_is_another_text_of_the_same_law(drawn):
    tape = text(1)
    is_kept = np.isnan(drawn.surprisal)
    assert (drawn.tokens[1:][is_kept] == tape[1 : len(drawn.tokens)][is_kept]).all()
    assert (drawn.tokens[1:][~is_kept] != 1).all()
    tape = tape[: len(drawn.tokens)]
    assert (drawn.tokens != tape).mean() > 0.25
    luck = (drawn.surprisal - drawn.entropy)[~is_kept]
    assert abs(luck.mean()) < 5 * luck.std() / np.sqrt(len(luck))


def test_its_own_losses_win_nothing_and_lower_ones_do(drawn):
    own = np.nan_to_num(drawn.surprisal, nan=3.0)
    honest, lower = assess_sampled(drawn, scored(own)), assess_sampled(drawn, scored(0.9 * own))
    assert honest["total_odds_nats"] <= 0 and honest["betting_odds_nats"] < 0.1
    assert lower["total_odds_nats"] > 13.8 and lower["betting_odds_nats"] > 13.8


def test_a_gate_that_the_models_regret_would_hide_is_found(drawn):
    own = np.nan_to_num(drawn.surprisal, nan=3.0)
    gated = np.where(drawn.tokens[1:] % 4 == 0, -np.log(0.7 * np.exp(-own) + 0.3), own + 0.02)
    told = assess_sampled(drawn, scored(gated))
    assert told["betting_odds_nats"] > 13.8


def test_a_script_without_losses_is_not_evaluated(drawn):
    failed = Scored(losses=None, detail="exit code 1", wall_seconds=1.0)
    assert "exit code 1" in assess_sampled(drawn, failed)["not_evaluated"]
