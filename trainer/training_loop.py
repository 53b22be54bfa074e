"""The training loop: steps until the recipe's last one, or until the time is up."""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from trainer.checkpoint import Position, Stateful, load_checkpoint, save_checkpoint
from trainer.data.batches import ReadyBatch, train_batches
from trainer.errors import PausedError, TrainerError
from trainer.model.transformer import GPT
from trainer.optimizer.averaging import WeightAverage, weight_average
from trainer.optimizer.parameter_groups import Optimizers
from trainer.optimizer.schedules import Pace, loop_budget_seconds, muon_momentum, pace_at
from trainer.optimizer.stages import LengthGrowth, Stage, length_growth, stage_at, stages
from trainer.process_group import ProcessGroup, gradient_sync
from trainer.recipe import Recipe, ScheduleOptions
from trainer.run_log import PAUSED_PREFIX, Progress, RunLog
from trainer.training_failures import memory_advice, refuse_divergence

ALWAYS_LOGGED_STEPS = 10  # the first ones, where a run that goes wrong usually shows it


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingRun:
    """All that training touches."""

    recipe: Recipe
    group: ProcessGroup
    log: RunLog
    model: GPT  # holds the parameters
    forward: nn.Module  # the same, compiled and replicated
    optimizers: Optimizers
    train_paths: list[Path]

    def batches(self, first_step: int = 0) -> Iterator[ReadyBatch]:
        """The training data from what belongs to a step on."""
        per_step = self.recipe.batch.micro_batches_per_step // self.group.world_size
        first = first_step * per_step
        return train_batches(self.train_paths, self.recipe, self.group, first=first)

    def parts(
        self, *, average: WeightAverage | None, growth: LengthGrowth | None
    ) -> dict[str, Stateful]:
        """What changes while training."""
        parts: dict[str, Stateful] = {
            "model": self.model,
            "adam": self.optimizers.adam,
            "muon": self.optimizers.muon,
        }
        if average is not None:
            parts["average"] = average
        if growth is not None:
            parts["growth"] = growth
        return parts


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Seconds of the training loop, those of earlier commands counted in."""

    loop_seconds: float  # where training ends; infinite without a limit
    pause_seconds: float  # where this process leaves the rest to another; infinite: nowhere
    before_seconds: float  # of start and warm-up, before the loop

    @property
    def is_limited(self) -> bool:
        return min(self.loop_seconds, self.pause_seconds) < math.inf

    def position(self, step: int, train_seconds: float) -> Position:
        """How far the run has come."""
        return Position(step=step, train_seconds=train_seconds, before_seconds=self.before_seconds)


class TrainingClock:
    """Seconds of training; stands still while paused."""

    def __init__(self, group: ProcessGroup, banked_seconds: float) -> None:
        self.group = group
        self.banked_seconds = banked_seconds
        self.resume()

    def seconds(self) -> float:
        """Training time so far, without waiting for the device."""
        return self.banked_seconds + time.perf_counter() - self.started

    def pause(self) -> float:
        """Stop when the device is done; returns the training time so far."""
        self.group.synchronize()
        self.banked_seconds = self.seconds()
        self.started = time.perf_counter()
        return self.banked_seconds

    def resume(self) -> None:
        self.group.synchronize()
        self.started = time.perf_counter()


def warm_up(run: TrainingRun) -> None:
    """Take some steps in each stage so that everything is compiled, then undo them."""
    schedule = run.recipe.schedule
    initial = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    batches = run.batches()
    pace = Pace(momentum=muon_momentum(run.recipe.optimizer, 0))
    for stage in stages(run.recipe):
        run.model.use_loops(wanted=stage.has_loops)
        label = "loop_" if stage.has_loops else ""
        if schedule.train_seq_schedule:
            run.log.write(f"{label}warmup_stage:seq_len:{stage.seq_len}")
        for step in range(1, schedule.warmup_steps + 1):
            with memory_advice(run.recipe.batch):
                take_step(run, batches, 0, pace, stage)
            if schedule.warmup_steps <= 20 or step % 10 == 0 or step == schedule.warmup_steps:
                run.log.write(f"{label}warmup_step:{step}/{schedule.warmup_steps}")
    run.model.load_state_dict(initial)
    run.optimizers.forget()


def train(run: TrainingRun, validate: Callable[[Progress], None]) -> Progress:
    """Train to the end of the schedule, from the checkpoint on where there is one.

    Args:
        run: all that training touches.
        validate: scores the model and says so; its time is not counted. Called every
            `val_loss_every` steps and after the last one; never if that is 0.

    Returns:
        The steps taken and the seconds they took.

    Raises:
        PausedError: this process's share of the time is over before the schedule's end.
    """
    schedule = run.recipe.schedule
    average = weight_average(run.model, run.recipe.optimizer)
    growth = length_growth(run.recipe)
    begin = Position(step=0, train_seconds=0.0, before_seconds=0.0)
    if schedule.checkpoint_every > 0:
        begin = resume(run, run.parts(average=average, growth=growth))
    budget = open_budget(run, begin)
    budget_seconds = budget.loop_seconds
    step, elapsed_seconds = begin.step, begin.train_seconds
    batches = run.batches(step)
    clock = TrainingClock(run.group, elapsed_seconds)
    is_last = False
    while not is_last:
        so_far = step, elapsed_seconds, budget_seconds
        pace, stage = pace_at(run.recipe, *so_far), stage_at(run.recipe, *so_far)
        follow_loops(run, step, stage)
        if schedule.val_loss_every > 0 and step % schedule.val_loss_every == 0:
            validate(_progress(schedule, step, clock.pause()))
            clock.resume()
        used_pace = pace if growth is None else follow_growth(run, growth, step, pace, stage)
        with memory_advice(run.recipe.batch):
            loss = take_step(run, batches, step, used_pace, stage)
        step += 1
        if average is not None:
            average.update(step, pace.learning_rate_scale)
        elapsed_seconds = clock.seconds()
        if budget.is_limited:  # all processes go by one time, or their weights drift apart
            elapsed_seconds = run.group.largest(elapsed_seconds)
        is_last = step == schedule.iterations or elapsed_seconds >= budget_seconds
        if is_last or _is_logged(step, schedule):
            progress = _progress(schedule, step, elapsed_seconds)
            run.log.write(progress.train_line(run.group.mean(loss).item()))
        if schedule.checkpoint_every > 0 and not is_last:
            parts = run.parts(average=average, growth=growth)
            keep(run, parts, budget, clock, budget.position(step, elapsed_seconds))
    progress = _progress(schedule, step, clock.pause())
    if schedule.val_loss_every > 0:
        validate(progress)
    if step < schedule.iterations:
        run.log.write(progress.stopping_line())
    use_average(run, average=average)
    run.model.use_loops(wanted=True)
    return progress


def resume(run: TrainingRun, parts: Mapping[str, Stateful]) -> Position:
    """Go on from this run's checkpoint, if there is one; says so in the log."""
    begin = load_checkpoint(run.recipe, run.group, parts)
    if begin.step > 0:
        run.log.write(f"resumed:{begin}")
    return begin


def keep(
    run: TrainingRun,
    parts: Mapping[str, Stateful],
    budget: Budget,
    clock: TrainingClock,
    reached: Position,
) -> None:
    """Write a checkpoint, if one is due.

    Raises:
        PausedError: this process's share of the time is over; the checkpoint is written.
    """
    is_over = reached.train_seconds >= budget.pause_seconds
    if is_over:  # what the device has still to do counts as well, for all processes alike
        train_seconds = run.group.largest(max(reached.train_seconds, clock.pause()))
        reached = replace(reached, train_seconds=train_seconds)
    if is_over or reached.step % run.recipe.schedule.checkpoint_every == 0:
        save_checkpoint(run.recipe, run.group, parts, reached)
    if is_over:
        run.log.write(f"{PAUSED_PREFIX}{reached}")
        raise PausedError(f"step {reached.step}: goes on from its checkpoint")


def use_average(run: TrainingRun, *, average: WeightAverage | None) -> None:
    """Put averaged weights in the place of the last ones, if the recipe averages any."""
    if average is not None and (num_averaged := average.replace_weights()):
        kind = "swa" if run.recipe.optimizer.swa_enabled else "ema"
        run.log.write(f"{kind}:applying averaged weights of {num_averaged} steps")


def follow_loops(run: TrainingRun, step: int, stage: Stage) -> None:
    """Go through the blocks in the stage's order; say so when it is the looped one."""
    was_looped = run.model.is_looped
    run.model.use_loops(wanted=stage.has_loops)
    if run.model.is_looped and not was_looped:
        layers = [block.layer for block in run.model.steps]
        half = len(layers) // 2
        run.log.write(
            f"layer_loop:enabled step:{step} encoder:{layers[:half]} decoder:{layers[half:]}"
        )


def follow_growth(
    run: TrainingRun, growth: LengthGrowth, step: int, pace: Pace, stage: Stage
) -> Pace:
    """The pace, slower in the first steps after sequences have grown; says so when they do."""
    if growth.follow(step, stage.seq_len):
        run.log.write(f"growth_stage:seq_len:{stage.seq_len} step:{step}")
    scale = pace.learning_rate_scale * growth.learning_rate_scale(step)
    return replace(pace, learning_rate_scale=scale)


def open_budget(run: TrainingRun, begin: Position) -> Budget:
    """The seconds that the loop may take, the same for all processes; says so in the log.

    Raises:
        TrainerError: the clock covers what came before, and that took all of the limit.
    """
    schedule = run.recipe.schedule
    own_seconds = run.group.largest(seconds_since_start())
    before_seconds = begin.before_seconds + own_seconds
    budget_seconds = loop_budget_seconds(schedule, before_seconds)
    if budget_seconds <= 0:
        raise TrainerError(
            f"schedule.clock {schedule.clock}: start and warm-up took {before_seconds:.1f} s and "
            f"{schedule.reserve_seconds:.1f} s are reserved, which leaves no time to train of "
            f"max_wallclock_seconds {schedule.max_wallclock_seconds:.1f}; raise it"
        )
    words = "none" if math.isinf(budget_seconds) else f"{budget_seconds:.3f}s"
    run.log.write(f"clock:{schedule.clock} before_loop:{before_seconds:.3f}s loop_budget:{words}")
    pause_seconds = math.inf
    if schedule.checkpoint_every > 0 and run.recipe.run.stop_after_seconds > 0:
        pause_seconds = begin.train_seconds + run.recipe.run.stop_after_seconds - own_seconds
    return Budget(
        loop_seconds=budget_seconds, pause_seconds=pause_seconds, before_seconds=before_seconds
    )


def seconds_since_start() -> float:
    """Seconds since the system started this process, imports included (Linux, proc(5))."""
    after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start_ticks = int(after_name[19])  # field 22, since boot
    return time.clock_gettime(time.CLOCK_BOOTTIME) - start_ticks / os.sysconf("SC_CLK_TCK")


def take_step(
    run: TrainingRun, batches: Iterator[ReadyBatch], step: int, pace: Pace, stage: Stage
) -> Tensor:  # () fp32 on the device, nats a token
    """One optimizer step over this process's micro-batches; returns their mean loss.

    The loss is looked at while the device is busy with the last backward pass, so that nothing
    waits and an update from a loss that is no number is never applied.
    """
    num_micro_batches = run.recipe.batch.micro_batches_per_step // run.group.world_size
    is_cuda = run.group.device.type == "cuda"
    total = torch.zeros((), device=run.group.device)
    if run.recipe.batch.pack_documents:
        run.model.longest_document = stage.seq_len
    for index in range(num_micro_batches):
        batch = next(batches).on(run.group.device, stage.seq_len)
        with gradient_sync(run.forward, wanted=index == num_micro_batches - 1):
            with torch.autocast(run.group.device.type, torch.bfloat16, enabled=is_cuda):
                loss = run.forward(
                    batch.input_ids, batch.target_ids, boundaries=batch.boundaries
                ).mean()
            total += loss.detach()
            arriving_loss = run.group.start_fetch(total)
            (loss / num_micro_batches).backward()
    refuse_divergence(run.model, run.group, step, arriving_loss())
    run.optimizers.step(pace)
    return total / num_micro_batches


def _progress(schedule: ScheduleOptions, step: int, train_seconds: float) -> Progress:
    return Progress(step=step, num_steps=schedule.iterations, train_seconds=train_seconds)


def _is_logged(step: int, schedule: ScheduleOptions) -> bool:
    every = schedule.train_log_every
    return step <= ALWAYS_LOGGED_STEPS or (every > 0 and step % every == 0)
