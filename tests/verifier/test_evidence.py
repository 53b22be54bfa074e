"""What stands behind a score, and that the profile's word on it decides."""

import json

import pytest
from evidence_on_file import whole_run

from verifier.evidence import score_guarantee
from verifier.schemas.run_record_json import EvaluationPlan, Evidence, TokenLosses


@pytest.fixture
def printed() -> Evidence:
    return whole_run("rerun")


def added_up(measurement):
    return measurement.model_copy(update={"score_origin": "token_losses"})


def divided(plan):
    phase = EvaluationPlan(argv=("python",), environment={}, artifact=("a",), code=("b",))
    return plan.model_copy(update={"evaluation": phase})


def test_a_print_counts_as_seen_only_where_its_code_was_followed(printed):
    plan, prints = printed.plan, printed.measurements
    assert score_guarantee(plan, prints, score_followed=True).grade == "observed"
    assert score_guarantee(plan, prints, score_followed=False).grade == "absent"


def test_losses_count_as_seen_where_evaluation_was_apart(printed):
    losses = tuple(map(added_up, printed.measurements))
    plan = divided(printed.plan)
    assert score_guarantee(plan, losses, score_followed=False).grade == "observed"
    assert score_guarantee(printed.plan, losses, score_followed=False).grade == "absent"


def test_the_seed_with_the_least_behind_it_decides(printed):
    first, *others = map(added_up, printed.measurements)
    mixed = (printed.measurements[0], *others)
    assert score_guarantee(divided(printed.plan), mixed, score_followed=False).grade == "absent"


def test_losses_of_some_tokens_alone_are_said_to_be_so(printed):
    few = TokenLosses(num_losses=49_792, num_tokens=49_802, mean_nats=2.0, all_alike=False)
    short = [m.model_copy(update={"token_losses": few}) for m in printed.measurements]
    guarantee = score_guarantee(divided(printed.plan), tuple(short), score_followed=False)
    assert guarantee.grade == "absent"
    assert guarantee.detail.endswith("losses were written of 49,792 of 49,802 tokens")


def test_a_printed_score_decides_nothing_under_the_written_rule(pgolf, make_submission):
    options = ("--num-seeds", "3", "--format", "json")
    verdict = json.loads(pgolf("verify", make_submission(), *options).stdout)
    assert verdict["verdict"] == "inconclusive"
    assert "the guarantee 'score' is absent" in verdict["because"]
    others = {other["profile"]: other["verdict"] for other in verdict["other_profiles"]}
    assert others == {"leaderboard-apr29": "accepted", "grace-may02": "accepted"}
