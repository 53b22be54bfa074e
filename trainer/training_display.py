"""How far the seeds are: one moving line on a terminal, the runs' own lines anywhere else."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

STEP = re.compile(r"step:(\d+)/(\d+) train_loss:(\S+) train_time:(\d+)ms")
SCORED = re.compile(r"ttt:scored (\d+)/(\d+) loss_so_far:(\S+) ")
PHASE = re.compile(r"phase:(\w+) seconds:")
BUDGET = re.compile(r"clock:\S+ before_loop:\S+ loop_budget:([\d.]+)s")
WORLD_SIZE = re.compile(r"world_size:(\d+) ")
DEVICE = re.compile(r"device:cuda (.*) threads:")
AFTER_PHASE = {  # a run names a phase when it is over
    "warm_up": "training",
    "training": "packing",
    "serialise": "loading",
    "load": "evaluating",
    "evaluate": "done",
}
LEAST_SHARE = 0.2
"""Of a run, before its first loss may be drawn out to the end: the first steps fall too steeply."""
# Dense bf16 tensor-core peaks of the data sheets, SXM variants.
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """What a step amounts to."""

    tokens_per_step: int
    flops_per_token: float  # forward and backward


class ProgressConsole(Console):
    """A console that leaves it to the command what a reader's going away means."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class TrainingDisplay:
    """Shows the lines of runs as they come."""

    _peak_flops: float | None  # of one process's GPU
    _losses: list[tuple[int, float]]  # step → nats a token, of this seed

    def __init__(self, seeds: list[int], workload: Workload, console: Console) -> None:
        self._seeds = seeds
        self._workload = workload
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TextColumn("gone"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=1.0, state="starting")
        self._seed: int | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def __call__(self, seed: int, line: str) -> None:
        """Show a line that a seed's run printed."""
        if not self._console.is_terminal:
            self._console.print(
                f"seed {seed} | {line}", markup=False, highlight=False, soft_wrap=True
            )
            return
        if seed != self._seed:
            self._begin(seed)
        if found := STEP.match(line):
            self._show_step(*found.groups())
        elif found := PHASE.match(line):
            self._bar.update(self._task, state=AFTER_PHASE.get(found[1], ""))
        elif found := SCORED.match(line):
            done, loss = int(found[1]) / max(int(found[2]), 1), found[3]
            self._bar.update(self._task, completed=done, state=f"evaluating  loss {loss} so far")
        elif found := BUDGET.match(line):
            self._budget_seconds = float(found[1])
        elif found := WORLD_SIZE.match(line):
            self._num_processes = int(found[1])
        elif found := DEVICE.match(line):
            self._peak_flops = peak_flops(found[1])

    def _begin(self, seed: int) -> None:
        self._seed = seed
        self._budget_seconds = math.inf
        self._num_processes = 1
        self._peak_flops = None
        self._losses = []
        place = f"seed {seed} ({self._seeds.index(seed) + 1}/{len(self._seeds)})"
        self._bar.reset(self._task, description=place, total=1.0, state="starting")

    def _show_step(self, step_text: str, total_text: str, loss: str, train_ms: str) -> None:
        step, num_steps, seconds = int(step_text), int(total_text), max(int(train_ms), 1) / 1000.0
        self._losses.append((step, float(loss)))
        done = max(step / num_steps, min(seconds / self._budget_seconds, 1.0))
        rate = step * self._workload.tokens_per_step / seconds
        parts = [f"{step}/{num_steps}", f"loss {loss}"]
        final = predicted_loss(self._losses, step / done) if done >= LEAST_SHARE else None
        if final is not None:
            parts.append(f"→ {final:.2f}")
        parts.append(f"{rate:,.0f} tokens/s")
        if self._peak_flops is not None:
            flops = rate * self._workload.flops_per_token / self._num_processes
            parts.append(f"MFU {flops / self._peak_flops:.0%}")
        self._bar.update(self._task, completed=done, state="  ".join(parts))


def peak_flops(device: str) -> float | None:
    """The arithmetic that a GPU of this name can do in a second; None if it is not known."""
    return next((peak for name, peak in PEAK_FLOPS.items() if name in device), None)


def predicted_loss(losses: Sequence[tuple[int, float]], last_step: float) -> float | None:
    """Where the loss is heading: the line through it over log(step), at the last step.

    A guess on the high side, as it knows nothing of the warm-down. None before there is enough to
    go by: four logged steps in the second half of those done, on a logarithmic scale.

    Args:
        losses: step → loss in nats, of the logged steps.
        last_step: of the run.
    """
    recent = [(math.log(step), loss) for step, loss in losses if step**2 >= losses[-1][0]]
    if len(recent) < 4 or last_step <= losses[-1][0]:
        return None
    mean_x = sum(x for x, _ in recent) / len(recent)
    mean_y = sum(y for _, y in recent) / len(recent)
    spread = sum((x - mean_x) ** 2 for x, _ in recent)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in recent) / spread
    return mean_y + slope * (math.log(last_step) - mean_x)
