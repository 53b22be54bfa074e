"""A text of the submission's own: drawn as it says, and coded in what it has."""

import numpy as np
import pytest
from stream_text import text

from verifier.probe.assessment import Scored
from verifier.probe.sampled import assess_sampled, draw_tape, template
from verifier.schemas.run_record_json import StreamPlan
from verifier.stream.pieces import rounds

PLAN = {"argv": ("python",), "environment": {}, "context_tokens": 0, "num_lanes": 16}


@pytest.fixture(params=[None, 32])
def drawn(hold, request):
    """A tape of the page's example, by documents and by windows."""
    tape = text(1)
    plan = StreamPlan(piece_tokens=request.param, **PLAN)
    groups = rounds(template(tape, plan), plan.num_lanes)
    return hold(lambda p: draw_tape(tape, groups, p, np.random.default_rng(5)))


def scored(losses: np.ndarray) -> Scored:
    return Scored(losses=losses.astype(np.float32), detail="exit code 0", wall_seconds=1.0)


def test_the_tape_is_another_text_of_the_same_law(drawn):
    tape = text(1)
    is_kept = np.isnan(drawn.surprisal)
    assert (drawn.tokens[1:][is_kept] == tape[1:][is_kept]).all()
    assert (drawn.tokens[1:][~is_kept] != 1).all()
    assert (drawn.tokens != tape).mean() > 0.5
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
