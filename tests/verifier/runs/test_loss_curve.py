import math

from hypothesis import given
from hypothesis import strategies as st

from verifier.claims.training_log import TrainPoint
from verifier.runs.loss_curve import loss_per_log_step, losses_sha256


def curve(losses: dict[int, float]) -> list[TrainPoint]:
    return [
        TrainPoint(line=1, step=step, planned_steps=9, train_loss=loss, train_seconds=None)
        for step, loss in losses.items()
    ]


@given(
    slope=st.floats(-5, 5), start=st.floats(0, 10), steps=st.sets(st.integers(1, 9999), min_size=9)
)
def test_the_slope_of_a_line_in_the_logarithm_is_found(slope, start, steps):
    steps = sorted(steps | {max(steps) + n for n in range(1, 5)})
    points = curve({step: start + slope * math.log(step) for step in steps})
    assert math.isclose(loss_per_log_step(points), slope, rel_tol=1e-4, abs_tol=1e-4)


def test_too_short_a_curve_has_no_slope():
    assert loss_per_log_step(curve({1: 3.0, 2: 2.0})) is None
    assert loss_per_log_step([]) is None


def test_runs_are_alike_only_to_the_last_digit():
    first = losses_sha256(curve({1: 3.0001, 2: 2.0}))
    assert first == losses_sha256(curve({1: 3.0001, 2: 2.0}))
    assert first != losses_sha256(curve({1: 3.0002, 2: 2.0}))
    assert losses_sha256(curve({1: 3.0})) is None
