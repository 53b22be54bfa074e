import math

import pytest

from trainer.optimizer.schedules import (
    learning_rate_scale,
    loop_budget_seconds,
    muon_momentum,
    weight_decay_scale,
)
from trainer.recipe import OptimizerOptions, ScheduleOptions


@pytest.mark.parametrize(
    ("step", "scale"), [(0, 1.0), (70, 1.0), (80, 1.0), (90, 0.5), (99, 0.05), (100, 0.0)]
)
def test_without_a_time_limit_the_last_steps_fall_to_zero(step, scale):
    options = ScheduleOptions(iterations=100, warmdown_iters=20)
    assert learning_rate_scale(options, step, 12.0, math.inf) == pytest.approx(scale)


# At 2 s a step, 10 steps of warmdown take 20 s: it begins 20 s before the limit of 100 s.
@pytest.mark.parametrize(
    ("step", "seconds", "scale"),
    [(0, 0.0, 1.0), (20, 40.0, 1.0), (40, 80.0, 1.0), (45, 90.0, 0.5), (50, 100.0, 0.0)],
)
def test_with_a_time_limit_the_clock_decides(step, seconds, scale):
    options = ScheduleOptions(warmdown_iters=10)
    assert learning_rate_scale(options, step, seconds, 100.0) == pytest.approx(scale)


def test_past_the_limit_the_scale_is_zero():
    assert learning_rate_scale(ScheduleOptions(warmdown_iters=10), 60, 120.0, 100.0) == 0.0


# #61: 20,000 steps of warm-down in a run of 12,756 at 47.04 ms start at 64 % and only fall.
def test_a_warm_down_longer_than_the_run_decays_from_the_start():
    options = ScheduleOptions(warmdown_iters=20_000)
    scales = [learning_rate_scale(options, n, n * 0.04704, 600.0) for n in range(1, 12_756, 500)]
    assert scales[0] == pytest.approx(0.638, abs=0.001) and scales[-1] < 0.02
    assert scales == sorted(scales, reverse=True)


@pytest.mark.parametrize(
    ("clock", "budget_seconds"),
    [("loop", 600), ("loop_plus_calibration", 590), ("everything", 550)],
)
def test_the_clock_decides_what_the_limit_covers(clock, budget_seconds):
    reserve_seconds = 0 if clock == "loop" else 10
    options = ScheduleOptions(clock=clock, reserve_seconds=reserve_seconds)
    assert loop_budget_seconds(options, seconds_before_loop=40) == budget_seconds


def test_without_a_limit_the_budget_is_infinite_under_any_clock():
    options = ScheduleOptions(clock="everything", max_wallclock_seconds=0)
    assert loop_budget_seconds(options, seconds_before_loop=40) == math.inf


def test_without_warmdown_the_scale_is_constant():
    options = ScheduleOptions(warmdown_iters=0)
    assert learning_rate_scale(options, 19_999, 599.0, 600.0) == 1.0


@pytest.mark.parametrize(("step", "momentum"), [(0, 0.85), (250, 0.90), (500, 0.95), (900, 0.95)])
def test_momentum_warms_up_in_a_straight_line(step, momentum):
    assert muon_momentum(OptimizerOptions(), step) == pytest.approx(momentum)


def test_momentum_without_warm_up_is_constant():
    assert muon_momentum(OptimizerOptions(muon_momentum_warmup_steps=0), 0) == 0.95


# #1855: warm-down over the last 85 % of 600 s, to a tenth.
@pytest.mark.parametrize(
    ("seconds", "scale"), [(0, 1.0), (90, 1.0), (345, 0.5), (549, 0.1), (580, 0.1), (600, 0.1)]
)
def test_a_share_of_the_run_falls_to_the_least_rate(seconds, scale):
    options = ScheduleOptions(warmdown_frac=0.85, min_lr=0.1)
    assert learning_rate_scale(options, 7, seconds, 600.0) == pytest.approx(scale)


def test_without_a_time_limit_shares_are_of_the_steps():
    options = ScheduleOptions(warmdown_frac=0.5, iterations=200)
    scales = [learning_rate_scale(options, step, 1.0, math.inf) for step in (0, 100, 150, 200)]
    assert scales == pytest.approx([1.0, 1.0, 0.5, 0.0])


# #1729: full until 70 % of the run, then in a straight line to half.
@pytest.mark.parametrize(("done", "scale"), [(0.0, 1.0), (0.7, 1.0), (0.85, 0.75), (1.0, 0.5)])
def test_weight_decay_tapers_off(done, scale):
    options = OptimizerOptions(wd_taper_start_frac=0.7, wd_taper_final_mult=0.5)
    assert weight_decay_scale(options, done) == pytest.approx(scale)


def test_weight_decay_is_constant_unless_asked():
    assert {weight_decay_scale(OptimizerOptions(), done / 10) for done in range(11)} == {1.0}
