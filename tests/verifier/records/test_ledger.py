"""The shipped ledger against the published facts, and the frontier on small ledgers."""

import datetime
import math

import pytest

from verifier.errors import RulebookError, UsageError
from verifier.records.ledger import (
    board,
    chain,
    comparison_settings,
    find_record,
    frontier,
    load_ledger,
    records_table,
)
from verifier.records.significance import compare_samples
from verifier.rulebook import load_rulebook, rules_folder

FOLDER = rules_folder() / "records"
RECORDS = load_ledger(FOLDER, "10min_16mb")
PROFILES = load_rulebook("10min_16mb").profiles

# Consecutive frontier rows with the one-sided Welch p at margin 0 and at 0.005 nats a token, as
# computed independently from the public logs.
PUBLISHED_CHAIN = """
1394 1413 0.0009 0.059 | 1413 1477 0.119 0.979 | 1477 1493 0.016 0.957 | 1493 1514 0.020 0.949
1514 1529 0.0009 0.0081 | 1529 1530 0.0100 0.243 | 1530 1610 0.202 0.956 | 1610 1626 0.097 0.93
1626 1667 0.228 0.95 | 1667 1729 0.003 0.046 | 1729 1736 0.006 0.477 | 1736 1769 0.063 0.973
1769 1787 0.023 0.972 | 1787 1868 0.011 0.753 | 1868 1855 0.324 0.962 | 1855 1945 0.056 0.770
1945 1953 0.090 0.964 | 1953 2014 0.020 0.993 | 2014 2135 0.014 0.990
"""
STEPS = [step.split() for step in PUBLISHED_CHAIN.replace("\n", "|").split("|") if step.strip()]

ONE = "{seed: 1, val_bpb: 1.2, source: a.log}"
TWO = "{seed: 1, val_bpb: 1.1, source: a.log}, {seed: 2, val_bpb: 1.11, source: b.log}"
SMALL = f"""
track: small
source: invented
families: {{demo: {{tokens: 2, bytes: 5, source: invented}}}}
records:
  - {{pr: 1, date: 2026-01-01, folder: first, title: First, status: accepted, family: demo,
     source: here, seeds: [{TWO}]}}
  - {{pr: 2, date: 2026-01-02, folder: second, title: Second, status: accepted, family: demo,
     source: here, seeds: [{ONE.replace("1.2", "1.0")}]}}
"""


def small_ledger(tmp_path, text=SMALL):
    (tmp_path / "small.yaml").write_text(text)
    return load_ledger(tmp_path, "small")


def welch(challenger, prior, profile):
    settings = comparison_settings(PROFILES[profile], RECORDS.families[challenger.family])
    return compare_samples(challenger.seed_bpbs, prior.seed_bpbs, settings).p_value


def printed(value, like):
    """The value with as many decimals as the published text has."""
    return f"{value:.{len(like.split('.')[1])}f}"


def test_both_ledgers_load_and_none_of_their_rows_was_lost():
    assert len(RECORDS.records) == 52
    assert sum(len(r.seeds) for r in RECORDS.records) == 135
    assert len(load_ledger(FOLDER, "non_record_16mb").records) == 11


@pytest.mark.parametrize(("prior", "challenger", "no_margin", "margin"), STEPS)
def test_the_published_chain_follows_from_the_ledger(prior, challenger, no_margin, margin):
    before, after = find_record(RECORDS, prior), find_record(RECORDS, challenger)
    assert printed(welch(after, before, "leaderboard-apr29"), no_margin) == no_margin
    assert printed(welch(after, before, "readme-strict"), margin) == margin


def test_the_frontier_from_sp8192_on_is_the_published_chain():
    rows = [row.pr for row in chain(RECORDS)]
    published = [int(STEPS[0][0]), *(int(step[1]) for step in STEPS)]
    assert rows[rows.index(1394) :] == published


@pytest.mark.parametrize(
    "name", ["1855", "2026-04-27_SP8192_LQER_SparseGate_BOSSmearFix_9HpStack_1.0611"]
)
def test_a_record_is_never_its_own_prior(name):
    prior = frontier(RECORDS, datetime.date(2026, 5, 2), name)
    assert prior is not None and prior.best.pr == 1868


def test_the_frontier_improves_from_row_to_row_and_in_time():
    rows = chain(RECORDS)
    for before, after in zip(rows, rows[1:], strict=False):
        assert after.mean_bpb < before.mean_bpb
        assert after.date >= before.date


def test_the_pooled_spread_of_the_ledger_agrees_with_the_tracks_figure():
    groups = [r for r in RECORDS.records if len(r.seeds) >= 3]
    freedom = sum(len(r.seeds) - 1 for r in groups)
    pooled = math.sqrt(sum((len(r.seeds) - 1) * r.std_bpb**2 for r in groups) / freedom)
    track = load_rulebook("10min_16mb").track
    assert len(groups) == 39
    assert pooled == pytest.approx(track.ledger_pooled_std_bpb.value, rel=0.05)


def test_ledger_and_track_score_the_same_tokens():
    families = load_rulebook("10min_16mb").track.dataset.families
    assert families
    for family in families:
        assert RECORDS.families[family.tokenizer].tokens == family.scored_tokens
        assert family.scored_bytes in (None, RECORDS.families[family.tokenizer].bytes)


def test_every_claim_is_its_seeds_mean_or_the_ledger_says_why_not():
    for record in RECORDS.records:
        if record.claimed_bpb and record.mean_bpb:
            close = abs(record.claimed_bpb - record.mean_bpb) < 5.1e-5  # some round to 4 decimals
            assert close or record.note or record.reason, record.folder


@pytest.mark.parametrize("name", ["1855", "pr1855", "PR 1855", "#1855", "PR#1855"])
def test_a_record_answers_to_its_pull_request(name):
    record = find_record(RECORDS, name)
    assert record.pr == 1855
    assert find_record(RECORDS, record.folder) is record


@pytest.mark.parametrize(("name", "reason"), [("99999", "no such record"), ("65", "smeargate")])
def test_an_unknown_or_ambiguous_name_is_refused(name, reason):
    with pytest.raises(UsageError, match=reason):
        find_record(RECORDS, name)


def test_a_ledger_row_is_held_against_the_rows_above_it():
    folder = find_record(RECORDS, "1493").folder
    assert frontier(RECORDS, datetime.date(2026, 5, 5), folder).best.pr == 1477


def test_a_new_submission_is_held_against_the_best_row_up_to_its_day():
    assert frontier(RECORDS, datetime.date(2026, 4, 9)).best.pr == 1514
    assert frontier(RECORDS, datetime.date(2026, 12, 31)).best.pr == 2135
    assert frontier(RECORDS, datetime.date(2026, 1, 1)) is None


@pytest.mark.parametrize("pr", ["86", "1412", "1851", "61"])
def test_rows_that_are_not_plainly_accepted_are_never_a_bar(pr):
    assert find_record(RECORDS, pr) not in chain(RECORDS)


def test_a_one_seed_best_row_is_named_and_the_test_runs_against_the_row_before(tmp_path):
    prior = frontier(small_ledger(tmp_path), datetime.date(2026, 1, 3))
    assert (prior.best.folder, prior.tested.folder) == ("second", "first")
    assert "PR 2" in prior.note and "PR 1" in prior.note


def test_no_row_with_two_seeds_means_no_test(tmp_path):
    prior = frontier(small_ledger(tmp_path, SMALL.replace(TWO, ONE)), datetime.date(2026, 1, 1))
    assert prior.tested is None
    assert "no test" in prior.note


@pytest.mark.parametrize(
    ("good", "bad", "mistake"),
    [
        ("folder: second", "folder: first", "listed twice"),
        ("2026-01-02", "2025-12-31", "dated before"),
        ("First, status: accepted", "First, status: disputed", "needs a reason"),
        (
            "First, status: accepted, family: demo",
            "F, status: accepted, family: x",
            "no family 'x'",
        ),
        ("val_bpb: 1.11", "val_bpb: .nan", "val_bpb"),
        ("track: small", "track: other", "ledger of 'other'"),
    ],
)
def test_a_flawed_ledger_is_refused(tmp_path, good, bad, mistake):
    assert good in SMALL
    with pytest.raises(RulebookError, match=mistake):
        small_ledger(tmp_path, SMALL.replace(good, bad))


def test_all_flaws_of_a_ledger_are_named_together(tmp_path):
    flawed = SMALL.replace("folder: second", "folder: first").replace("2026-01-02", "2025-12-31")
    with pytest.raises(RulebookError, match="listed twice.*dated before"):
        small_ledger(tmp_path, flawed)


def test_the_table_lists_every_record_with_its_own_figures():
    rows = {row.record.pr: row for row in records_table(RECORDS)}
    top = rows[1855]
    assert (top.num_seeds, top.max_artifact_bytes, top.on_frontier) == (3, 15_907_550, True)
    assert top.mean_bpb == pytest.approx(1.06107587, abs=1e-8)
    assert top.std_bpb == pytest.approx(0.00111, abs=5e-6)
    assert not rows[1412].on_frontier


def test_each_admitted_row_passed_against_the_row_that_its_profile_admitted_before():
    for profile in PROFILES.values():
        incumbent = None
        for row in board(RECORDS, profile):
            assert row.prior is incumbent
            if row.admitted and incumbent is not None:
                assert row.significance.p_value < profile.alpha
            incumbent = row.record if row.admitted else incumbent


def test_the_written_rule_would_have_kept_a_much_shorter_board():
    admitted = {
        name: sum(row.admitted for row in board(RECORDS, profile))
        for name, profile in PROFILES.items()
    }
    assert admitted["readme-strict"] < admitted["leaderboard-apr29"] / 2


def test_a_row_with_one_seed_is_shown_but_not_admitted(tmp_path):
    first, second = board(small_ledger(tmp_path), PROFILES["readme-strict"])
    assert (first.admitted, second.admitted) == (True, False)
    assert second.significance is None and "one seed" in second.note
