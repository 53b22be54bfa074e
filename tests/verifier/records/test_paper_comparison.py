import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from verifier.records.ledger import load_ledger
from verifier.records.paper_comparison import EXTERNAL, claimed_gain, compare_claims, student_t_tail
from verifier.rulebook import load_rulebook, rules_folder
from verifier.schemas.run_record_json import ClaimedValues
from verifier.schemas.significance_json import SignificanceRecord

BOOK = load_rulebook("10min_16mb")
LEDGER = load_ledger(rules_folder() / "records", "10min_16mb")


def claims(*bpbs: float, day: str | None = "2026-04-30", headline: float | None = None):
    return ClaimedValues(
        val_bpb=headline,
        val_bpb_std=None,
        bytes_total=None,
        date=datetime.date.fromisoformat(day) if day else None,
        claimed_bpbs=bpbs,
    )


def answer(*bpbs: float, day: str | None = "2026-04-30", profile: str = "leaderboard-apr29"):
    own = claims(*bpbs, day=day)
    return compare_claims(own, "new", LEDGER, BOOK.profile(profile), BOOK.track)


@given(st.floats(-40, 40), st.floats(1, 60))
def test_the_tail_is_that_of_student(t, degrees_of_freedom):
    exact = special.stdtr(degrees_of_freedom, -t)
    assert student_t_tail(t, degrees_of_freedom) == pytest.approx(exact, abs=1e-6)


def test_a_clear_gain_passes_and_a_worse_score_does_not():
    clear, worse = answer(1.050, 1.0503, 1.0501), answer(1.07, 1.0703, 1.0701)
    assert isinstance(clear, SignificanceRecord) and clear.passed
    assert isinstance(worse, SignificanceRecord) and not worse.passed


def test_one_seed_is_tested_with_the_spread_of_the_ledger():
    near, far = answer(1.0592), answer(1.05)
    assert isinstance(near, SignificanceRecord) and near.test == EXTERNAL and not near.passed
    assert isinstance(far, SignificanceRecord) and far.passed


def test_rows_of_the_same_day_are_not_yet_the_prior_record():
    row = next(r for r in reversed(LEDGER.records) if r.status == "accepted")
    same_day = answer(*row.seed_bpbs, day=row.date.isoformat())
    next_day = answer(*row.seed_bpbs, day=str(row.date + datetime.timedelta(days=1)))
    assert isinstance(same_day, SignificanceRecord) and same_day.prior != row.name
    assert isinstance(next_day, SignificanceRecord) and next_day.prior == row.name


def test_what_is_missing_is_said():
    assert answer() == "no score of a single seed is claimed"
    assert "no date" in str(answer(1.05, day=None))
    assert "tokens and bytes" in str(answer(1.05, 1.051, profile="readme-strict"))


def test_where_no_tokens_are_counted_a_printed_pair_says_what_the_margin_is():
    own = claims(1.05, 1.051).model_copy(update={"nats_per_bpb": 2.7 / 1.05})
    test = compare_claims(own, "new", LEDGER, BOOK.profile("readme-strict"), BOOK.track)
    assert isinstance(test, SignificanceRecord)
    assert test.margin_bpb == pytest.approx(0.005 * 1.05 / 2.7)


def test_a_gain_needs_a_score_and_a_day_and_no_more():
    gain = claimed_gain(claims(day="2026-03-25", headline=0.4343), "new", LEDGER)
    assert gain.bpb == pytest.approx(0.685, abs=1e-3) and gain.prior == "PR 549"
    assert claimed_gain(claims(), "new", LEDGER) == "no score is claimed"
    assert "gives no date" in claimed_gain(claims(1.05, day=None), "new", LEDGER)


def test_no_record_gained_more_than_half_of_what_is_called_implausible():
    gains = [
        claimed_gain(claims(mean, day=str(record.date)), record.folder, LEDGER)
        for record in LEDGER.records
        if record.status == "accepted" and (mean := record.mean_bpb) is not None
    ]
    largest_bpb = max(gain.bpb for gain in gains if not isinstance(gain, str))
    assert largest_bpb <= BOOK.rules["implausible_gain"].parameters["largest_gain_bpb"] / 2
