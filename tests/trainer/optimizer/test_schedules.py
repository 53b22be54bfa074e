import pytest

from trainer.optimizer.schedules import learning_rate_scale, muon_momentum
from trainer.recipe import OptimizerOptions, ScheduleOptions


@pytest.mark.parametrize(
    ("step", "scale"), [(0, 1.0), (70, 1.0), (80, 1.0), (90, 0.5), (99, 0.05), (100, 0.0)]
)
def test_without_a_time_limit_the_last_steps_fall_to_zero(step, scale):
    options = ScheduleOptions(iterations=100, warmdown_iters=20, max_wallclock_seconds=0.0)
    assert learning_rate_scale(options, step, elapsed_seconds=12.0) == pytest.approx(scale)


# At 2 s a step, 10 steps of warmdown take 20 s: it begins 20 s before the limit of 100 s.
@pytest.mark.parametrize(
    ("step", "seconds", "scale"),
    [(0, 0.0, 1.0), (20, 40.0, 1.0), (40, 80.0, 1.0), (45, 90.0, 0.5), (50, 100.0, 0.0)],
)
def test_with_a_time_limit_the_clock_decides(step, seconds, scale):
    options = ScheduleOptions(warmdown_iters=10, max_wallclock_seconds=100.0)
    assert learning_rate_scale(options, step, seconds) == pytest.approx(scale)


def test_past_the_limit_the_scale_is_zero():
    options = ScheduleOptions(warmdown_iters=10, max_wallclock_seconds=100.0)
    assert learning_rate_scale(options, 60, 120.0) == 0.0


def test_without_warmdown_the_scale_is_constant():
    options = ScheduleOptions(warmdown_iters=0)
    assert learning_rate_scale(options, 19_999, 599.0) == 1.0


@pytest.mark.parametrize(("step", "momentum"), [(0, 0.85), (250, 0.90), (500, 0.95), (900, 0.95)])
def test_momentum_warms_up_in_a_straight_line(step, momentum):
    assert muon_momentum(OptimizerOptions(), step) == pytest.approx(momentum)


def test_momentum_without_warm_up_is_constant():
    assert muon_momentum(OptimizerOptions(muon_momentum_warmup_steps=0), 0) == 0.95
