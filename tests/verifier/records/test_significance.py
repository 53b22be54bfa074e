"""The tests of significance: published p-values, size, invariances, and what is refused."""

import dataclasses
import math
from statistics import fmean, variance

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from verifier.errors import UsageError
from verifier.records.comparison_settings import ComparisonSettings, SeedNoise
from verifier.records.ledger import find_record, load_ledger
from verifier.records.significance import compare_samples, external_variance_test
from verifier.rulebook import rules_folder

RECORDS = load_ledger(rules_folder() / "records", "10min_16mb")
NOISE = SeedNoise(std_bpb=0.00072, degrees_of_freedom=48)
NO_MARGIN = ComparisonSettings(margin_nats_per_token=0, num_tokens=1, num_bytes=2.5, alpha=0.01)

# Whole multiples of a power of two: means, shifts and doublings of them are exact in floats.
GRID = 2.0**-16
CASES = settings(max_examples=60)
samples = st.lists(st.integers(1, 2000), min_size=2, max_size=7).filter(lambda v: len(set(v)) > 1)


def bpbs(steps, scale=1, shift=0):
    return [scale * (step + shift) * GRID for step in steps]


def with_margin(margin_nats, **changes):
    return dataclasses.replace(NO_MARGIN, margin_nats_per_token=margin_nats, **changes)


def seeds(pr):
    return find_record(RECORDS, pr).seed_bpbs


# Mean and deviation as the submissions state them; the deviations are a population's (ddof 0).
STATED = {
    "1855": (1.06107587, 0.00090),
    "1945": (1.05943381, 0.00064246),
    "1953": (1.05855370, 0.00029539),
    "2014": (1.05759252, 0.00034091),
}


@pytest.mark.parametrize(
    ("challenger", "prior", "published"),
    [("1514", "1493", 0.020), ("1529", "1514", 0.001), ("1769", "1736", 0.063)]
    + [("2135", "2014", 0.014)],
)
def test_published_p_values_are_reproduced(challenger, prior, published):
    result = compare_samples(seeds(challenger), seeds(prior), NO_MARGIN)
    assert round(result.p_value, 3) == published


@pytest.mark.parametrize(
    ("challenger", "prior", "published"),
    [("1945", "1855", 0.034), ("1953", "1945", 0.063), ("2014", "1953", 0.011)],
)
def test_three_published_p_values_come_from_population_deviations(challenger, prior, published):
    a, b = STATED[challenger], STATED[prior]
    slip = stats.ttest_ind_from_stats(*a, 3, *b, 3, equal_var=False, alternative="less").pvalue
    held_to = dataclasses.replace(NO_MARGIN, claimed_std_bpb=a[1])
    result = compare_samples(seeds(challenger), seeds(prior), held_to)
    assert round(slip, 3) == published
    assert result.p_value > 1.4 * published
    assert any("ddof 0" in warning for warning in result.warnings)


def test_a_sample_deviation_is_not_taken_for_a_slip():
    held_to = dataclasses.replace(NO_MARGIN, claimed_std_bpb=0.00035573)
    assert compare_samples(seeds("2135"), seeds("2014"), held_to).warnings == ()


def test_seeds_left_out_of_a_claim_change_its_p_value():
    record = find_record(RECORDS, "1769")
    every_seed = [run.val_bpb for run in (*record.seeds, *record.other_runs)]
    assert len(every_seed) == 7
    assert round(compare_samples(every_seed, seeds("1736"), NO_MARGIN).p_value, 3) == 0.106


def test_1855_passes_at_a_quarter_only_with_seeds_that_others_ran():
    rerun = [run.val_bpb for run in find_record(RECORDS, "1868").other_runs]
    own = seeds("1855")
    # The six pooled seeds are published as mean and deviation only, which is all that Welch needs.
    mean = 2 * 1.060755 - fmean(own)
    squares = 5 * 0.000933**2 - 2 * variance(own) - 1.5 * (mean - fmean(own)) ** 2
    others = [mean, mean - math.sqrt(squares / 2), mean + math.sqrt(squares / 2)]
    assert round(compare_samples(own, rerun, NO_MARGIN).p_value, 3) == 0.355
    pooled = compare_samples([*own, *others], rerun, NO_MARGIN)
    assert pooled.p_value == pytest.approx(0.188, abs=0.001)


@CASES
@given(samples, samples, st.floats(0, 0.01))
def test_p_value_and_interval_agree_with_an_independent_implementation(new, old, margin):
    challenger, prior = bpbs(new), bpbs(old)
    result = compare_samples(challenger, prior, with_margin(margin))
    shifted = np.array(challenger) + result.margin_bpb
    reference = stats.ttest_ind(shifted, prior, equal_var=False, alternative="less")
    assert result.p_value == pytest.approx(reference.pvalue, rel=1e-6, abs=1e-300)
    interval = stats.ttest_ind(prior, challenger, equal_var=False).confidence_interval(0.95)
    assert (result.ci_low, result.ci_high) == pytest.approx(tuple(interval), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("alpha", "num_seeds"), [(0.01, 3), (0.25, 3), (0.05, 5), (0.25, 2)])
def test_without_a_gain_it_passes_no_more_often_than_alpha(alpha, num_seeds):
    draws = np.random.default_rng(20260318).normal(1.06, 0.0007, (2000, num_seeds + 3))
    held_to = dataclasses.replace(NO_MARGIN, alpha=alpha)
    passed = [
        compare_samples(row[:num_seeds].tolist(), row[num_seeds:].tolist(), held_to).passed
        for row in draws
    ]
    assert fmean(passed) <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / len(draws))


def test_the_outside_spread_keeps_its_size_and_finds_more():
    draws = np.random.default_rng(7).normal(1.06, 0.00072, (2000, 6))
    external = welch = wrong = 0
    for row in draws.tolist():
        honest = compare_samples(row[:3], row[3:], dataclasses.replace(NO_MARGIN, noise=NOISE))
        wrong += (honest.external_p_value or 1) < 0.01
        better = [value - 0.002 for value in row[:3]]
        result = compare_samples(better, row[3:], dataclasses.replace(NO_MARGIN, noise=NOISE))
        external += (result.external_p_value or 1) < 0.01
        welch += result.passed
    assert wrong / 2000 <= 0.01 + 3 * math.sqrt(0.01 * 0.99 / 2000)
    assert external > 2 * welch


@CASES
@given(samples, samples, st.integers(-500, 500), st.sampled_from([0.25, 2, 16]))
def test_shifting_changes_nothing_and_scaling_scales_the_gain(new, old, shift, scale):
    base = compare_samples(bpbs(new), bpbs(old), with_margin(0.001))
    moved = compare_samples(bpbs(new, shift=shift), bpbs(old, shift=shift), with_margin(0.001))
    scaled = compare_samples(bpbs(new, scale), bpbs(old, scale), with_margin(0.001 * scale))
    assert moved.p_value == pytest.approx(base.p_value, rel=1e-9)
    assert scaled.p_value == pytest.approx(base.p_value, rel=1e-9)
    assert scaled.gain_bpb == pytest.approx(scale * base.gain_bpb)
    assert scaled.seeds_for_80_power == base.seeds_for_80_power


@CASES
@given(samples, samples, st.floats(0, 0.02), st.floats(0, 0.02))
def test_a_larger_margin_never_helps(new, old, first, second):
    low, high = sorted((first, second))
    easy = compare_samples(bpbs(new), bpbs(old), with_margin(low))
    hard = compare_samples(bpbs(new), bpbs(old), with_margin(high))
    assert easy.p_value <= hard.p_value
    assert (easy.seeds_for_80_power or math.inf) <= (hard.seeds_for_80_power or math.inf)


@CASES
@given(samples, samples, st.randoms())
def test_the_order_of_seeds_does_not_matter(new, old, random):
    shuffled_new, shuffled_old = list(new), list(old)
    random.shuffle(shuffled_new)
    random.shuffle(shuffled_old)
    held_to = dataclasses.replace(NO_MARGIN, noise=NOISE)
    assert compare_samples(bpbs(new), bpbs(old), held_to) == compare_samples(
        bpbs(shuffled_new), bpbs(shuffled_old), held_to
    )


def test_the_margin_follows_the_challengers_tokenizer():
    sp8192, sp1024 = RECORDS.families["sp8192"], RECORDS.families["sp1024"]
    for family, margin_bpb in ((sp8192, 0.001936), (sp1024, 0.002961)):
        held_to = with_margin(0.005, num_tokens=family.tokens, num_bytes=family.bytes)
        result = compare_samples(seeds("1529"), seeds("1514"), held_to)
        assert round(result.margin_bpb, 6) == margin_bpb
        assert result.margin_nats_per_token == 0.005


def test_the_planned_number_of_seeds_has_the_planned_power():
    rng = np.random.default_rng(3)
    prior = rng.normal(1.06, 0.0007, 30)
    plan = compare_samples((prior[:3] - 0.001).tolist(), prior.tolist(), NO_MARGIN)
    gain, needed = plan.gain_bpb, plan.seeds_for_80_power
    mean, deviation = prior.mean() - gain, prior[:3].std(ddof=1)
    passed = 0
    for _ in range(2000):
        challenger = rng.normal(mean, deviation, needed).tolist()
        other = rng.normal(prior.mean(), prior.std(ddof=1), 30).tolist()
        passed += bool(compare_samples(challenger, other, NO_MARGIN).passed)
    assert 0.77 <= passed / 2000


@pytest.mark.parametrize("gain", [-0.001, 0.0005])
def test_a_gain_that_no_number_of_seeds_can_prove_has_no_plan(gain):
    prior = [1.0600, 1.0607, 1.0613]
    result = compare_samples([value - gain for value in prior], prior, NO_MARGIN)
    assert result.seeds_for_80_power is None


@pytest.mark.parametrize(("new", "old", "floor"), [(3, 3, 1 / 20), (5, 3, 1 / 56), (5, 5, 1 / 252)])
def test_the_smallest_p_of_a_permutation_test_is_given(new, old, floor):
    values = [1.0 + 0.001 * i for i in range(10)]
    result = compare_samples(values[:new], values[-old:], NO_MARGIN)
    assert result.smallest_p == pytest.approx(floor)


@pytest.mark.parametrize(
    ("challenger", "reason"),
    [
        ([], "0 seed"),
        ([1.05], "1 seed"),
        ([1.05, 1.05, 1.05], "identically"),
        ([1.05, math.nan, 1.051], "no finite score"),
        ([1.05, math.inf], "no finite score"),
    ],
)
def test_what_cannot_be_tested_never_passes_and_says_why(challenger, reason):
    for pair in ((challenger, [1.06, 1.061, 1.062]), ([1.06, 1.061, 1.062], challenger)):
        result = compare_samples(*pair, dataclasses.replace(NO_MARGIN, noise=NOISE))
        assert (result.passed, result.p_value, result.seeds_for_80_power) == (None, None, None)
        assert reason in result.warnings[0]


def test_with_the_outside_spread_one_seed_a_side_is_evidence_but_no_pass():
    result = compare_samples([1.05], [1.06], dataclasses.replace(NO_MARGIN, noise=NOISE))
    assert result.external_p_value < 1e-6
    assert result.passed is None


def test_a_sample_too_wide_for_the_outside_spread_refuses_it():
    wide = seeds("52")  # the widest of the ledger, 0.00187 BPB
    held_to = dataclasses.replace(NO_MARGIN, noise=NOISE)
    assert compare_samples(wide, seeds("49"), held_to).external_p_value is None
    assert "challenger" in external_variance_test(wide, seeds("49"), held_to).refused


@pytest.mark.parametrize(
    "values", [[1.0692, 1.0695, 1.1214], [1.069, 1.1214], [1.069, 1.0691, 1.121, 1.1214]]
)
def test_seeds_of_two_modes_are_called_out(values):
    held_to = dataclasses.replace(NO_MARGIN, noise=NOISE)
    result = compare_samples([1.05, 1.051, 1.052], values, held_to)
    assert any("two modes" in warning for warning in result.warnings)


def test_no_accepted_record_is_called_out():
    held_to = dataclasses.replace(NO_MARGIN, noise=NOISE)
    groups = [r.seed_bpbs for r in RECORDS.records if r.status == "accepted" and len(r.seeds) > 2]
    assert len(groups) == 38
    for group in groups:
        assert compare_samples(group, seeds("1394"), held_to).warnings == ()


def test_a_score_that_repeats_to_the_last_digit_is_called_out():
    result = compare_samples([1.05, 1.05, 1.051], [1.06, 1.061], NO_MARGIN)
    assert "separate runs" in result.warnings[0]
    assert result.p_value is not None


@pytest.mark.parametrize(
    "nonsense",
    [
        {"alpha": 0.0},
        {"alpha": math.nan},
        {"num_tokens": 0},
        {"num_bytes": -1},
        {"margin_nats_per_token": -0.005},
        {"noise": SeedNoise(std_bpb=0.0, degrees_of_freedom=48)},
    ],
)
def test_settings_without_meaning_are_refused(nonsense):
    with pytest.raises(UsageError):
        compare_samples([1.0, 1.1], [1.2, 1.3], dataclasses.replace(NO_MARGIN, **nonsense))
