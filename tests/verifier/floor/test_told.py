"""What a floor run showed stands in every report, and its rule tells proof from doubt."""

import pytest
from evidence_on_file import whole_run

from verifier import pipeline
from verifier.commands.rendering import Told, open_dossier
from verifier.reports.charts.floor import odds_chart
from verifier.reports.charts.marks import Line
from verifier.reports.run_notes import floor_note
from verifier.rulebook import load_rulebook
from verifier.schemas.verdict_json import VerdictFile


def judged(**floor: object) -> VerdictFile:
    changed = whole_run("floor", {f"floor.{name}": value for name, value in floor.items()})
    return pipeline.judge(changed, load_rulebook("10min_16mb"), "readme-strict")


def answer(**floor: object):
    [rule] = [r for r in judged(**floor).rules if r.rule == "below_entropy_floor"]
    return rule


def test_a_note_tells_gap_and_odds():
    note = floor_note(judged(total_odds_nats=-5.0, betting_odds_nats=2.302585))
    assert "61,440 tokens of a zipf source" in note and "above their entropy" in note
    assert "odds against honesty 10^1.0" in note


def test_the_path_of_the_bets_is_drawn_against_the_bar_of_proof():
    path = ((1_000, 0.0), (2_000, 20.0), (3_000, 15.0))
    chart = odds_chart(open_dossier(Told(verdict=judged(betting_path=path))))
    assert chart is not None
    assert "10^8.7 against honesty in 3,000 tokens; at the end 10^6.5; proof" in chart.description
    [drawn] = [m for m in chart.marks if isinstance(m, Line) and m.tone == "ours"]
    heights = [y for _, y in drawn.points]
    assert heights[1] < heights[2] < heights[0]
    assert odds_chart(open_dossier(Told(verdict=judged(betting_path=())))) is None


def test_a_note_tells_why_nothing_is_known():
    note = floor_note(judged(loss_nats=None, not_evaluated="crash: exit code 1"))
    assert note.endswith("crash: exit code 1")


@pytest.mark.parametrize(
    ("floor", "reason"),
    [
        ({"betting_odds_nats": 9.0}, "odd, and no proof"),
        ({"rounding_nats": 0.005}, "print more digits"),
        ({"betting_odds_nats": None, "no_betting": "in another order"}, "in another order"),
        ({"loss_nats": 6.0}, "learned too little to show a leak"),
        ({"total_odds_nats": None, "betting_odds_nats": None}, "a part of the tape"),
        ({"not_evaluated": "crash: CUDA is required"}, "CUDA is required"),
    ],
)
def test_silence_and_doubt_pass_nothing(floor, reason):
    rule = answer(**floor)
    assert rule.outcome == "not_evaluated" and rule.severity == "reject"
    assert reason in rule.reason


def test_a_small_gap_points_to_a_learned_tape_and_a_large_one_to_seen_targets():
    assert "is learned before" in answer(betting_odds_nats=400.0).findings[0].evidence
    assert "targets are seen" in answer(betting_odds_nats=4_000.0).findings[0].evidence


def test_full_runs_are_not_kept_open_by_a_floor_that_nobody_climbed():
    full = whole_run("floor", {"floor": None, "plan.rung": "rerun"})
    verdict = pipeline.judge(full, load_rulebook("10min_16mb"), "readme-strict")
    [rule] = [r for r in verdict.rules if r.rule == "below_entropy_floor"]
    assert rule.severity == "info" and "--rung floor" in rule.reason
