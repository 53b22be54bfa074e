"""Schedules: pure functions of step and time."""

import math

from trainer.recipe import OptimizerOptions, ScheduleOptions


def loop_budget_seconds(options: ScheduleOptions, seconds_before_loop: float) -> float:
    """How long the training loop may take under the recipe's clock; infinite without a limit.

    Args:
        options: the recipe's schedule.
        seconds_before_loop: from the start of the process, compilation and warm-up included.
    """
    if options.max_wallclock_seconds == 0:
        return math.inf
    counted_before = seconds_before_loop if options.clock == "everything" else 0.0
    return options.max_wallclock_seconds - options.reserve_seconds - counted_before


def learning_rate_scale(
    options: ScheduleOptions, step: int, elapsed_seconds: float, budget_seconds: float
) -> float:
    """The factor on every learning rate: 1, then a straight line to 0 over the last steps.

    With a time limit, the end is where the time runs out: the seconds that the last
    `warmdown_iters` steps will take are estimated from the steps so far. A warm-down longer than
    the whole run decays from its first steps on (#61).

    Args:
        options: the recipe's schedule.
        step: steps done.
        elapsed_seconds: time in the training loop so far.
        budget_seconds: `loop_budget_seconds`.
    """
    if options.warmdown_iters == 0:
        return 1.0
    if math.isinf(budget_seconds):
        return min(1.0, max(0.0, (options.iterations - step) / options.warmdown_iters))
    warmdown_seconds = options.warmdown_iters * elapsed_seconds / max(step, 1)
    remaining_seconds = max(budget_seconds - elapsed_seconds, 0.0)
    return min(1.0, remaining_seconds / max(warmdown_seconds, 1e-12))


def muon_momentum(options: OptimizerOptions, step: int) -> float:
    """Muon's momentum: a straight line from its start value over the first steps, then constant."""
    if options.muon_momentum_warmup_steps == 0:
        return options.muon_momentum
    done = min(step / options.muon_momentum_warmup_steps, 1.0)
    return (1 - done) * options.muon_momentum_warmup_start + done * options.muon_momentum
