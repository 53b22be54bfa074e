"""Schedules: pure functions of step and time."""

import math
from dataclasses import dataclass

from trainer.recipe import OptimizerOptions, Recipe, ScheduleOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """What the schedules say to the optimizers for one step."""

    momentum: float  # Muon's
    learning_rate_scale: float = 1.0
    weight_decay_scale: float = 1.0  # of Muon's


def pace_at(recipe: Recipe, step: int, elapsed_seconds: float, budget_seconds: float) -> Pace:
    """The pace of a step, after so many steps and so much time of the budget."""
    schedule, optimizer = recipe.schedule, recipe.optimizer
    so_far = step, elapsed_seconds, budget_seconds
    return Pace(
        learning_rate_scale=learning_rate_scale(schedule, *so_far),
        weight_decay_scale=(
            1.0
            if optimizer.wd_taper_final_mult == 1
            else weight_decay_scale(optimizer, share_done(schedule, *so_far))
        ),
        momentum=muon_momentum(optimizer, step),
    )


def share_done(
    options: ScheduleOptions, step: int, elapsed_seconds: float, budget_seconds: float
) -> float:
    """How much of the run lies behind: of its time, or without a time limit of its steps."""
    if math.isinf(budget_seconds):
        return step / options.iterations
    return elapsed_seconds / budget_seconds


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
    """The factor on every learning rate: 1, then a straight line towards 0 at the end.

    The line is `warmdown_frac` of the run long, or `warmdown_iters` steps. With a time limit, the
    end is where the time runs out: the seconds that those steps will take are estimated from the
    steps so far. A warm-down longer than the whole run decays from its first steps on (#61).

    Args:
        options: the recipe's schedule.
        step: steps done.
        elapsed_seconds: time in the training loop so far.
        budget_seconds: `loop_budget_seconds`.
    """
    if options.warmdown_frac > 0:
        left = 1.0 - share_done(options, step, elapsed_seconds, budget_seconds)
        line = left / options.warmdown_frac
    elif options.warmdown_iters == 0:
        line = 1.0
    elif math.isinf(budget_seconds):
        line = (options.iterations - step) / options.warmdown_iters
    else:
        warmdown_seconds = options.warmdown_iters * elapsed_seconds / max(step, 1)
        line = (budget_seconds - elapsed_seconds) / max(warmdown_seconds, 1e-12)
    return min(1.0, max(line, options.min_lr))


def weight_decay_scale(options: OptimizerOptions, done: float) -> float:
    """The factor on Muon's weight decay: 1, then a straight line to its final share (#1729).

    Args:
        options: the recipe's optimizer.
        done: `share_done`.
    """
    start = options.wd_taper_start_frac
    if done <= start:
        return 1.0
    tapered = min((done - start) / max(1.0 - start, 1e-12), 1.0)
    return 1.0 + (options.wd_taper_final_mult - 1.0) * tapered


def muon_momentum(options: OptimizerOptions, step: int) -> float:
    """Muon's momentum: a straight line from its start value over the first steps, then constant."""
    if options.muon_momentum_warmup_steps == 0:
        return options.muon_momentum
    done = min(step / options.muon_momentum_warmup_steps, 1.0)
    return (1 - done) * options.muon_momentum_warmup_start + done * options.muon_momentum
