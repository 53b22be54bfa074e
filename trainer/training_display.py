"""How far the seeds are: one moving line on a terminal, the runs' own lines anywhere else."""

import re
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

STEP = re.compile(r"step:(\d+)/(\d+) train_loss:(\S+) train_time:(\d+)ms")
PHASE = re.compile(r"phase:(\w+) seconds:")
AFTER_PHASE = {  # a run names a phase when it is over
    "warm_up": "training",
    "training": "packing",
    "serialise": "loading",
    "load": "evaluating",
    "evaluate": "done",
}


class TrainingDisplay:
    """Shows the lines of runs as they come."""

    def __init__(self, seeds: list[int], tokens_per_step: int, console: Console) -> None:
        self._seeds = seeds
        self._tokens_per_step = tokens_per_step
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}  {task.fields[state]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
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
            self._seed = seed
            place = f"seed {seed} ({self._seeds.index(seed) + 1}/{len(self._seeds)})"
            self._bar.reset(self._task, description=place, total=1.0, state="starting")
        if found := STEP.match(line):
            step, num_steps, train_ms = int(found[1]), int(found[2]), max(int(found[4]), 1)
            rate = 1000.0 * step * self._tokens_per_step / train_ms
            state = f"loss {found[3]}  {rate:,.0f} tokens/s"
            self._bar.update(self._task, completed=step, total=num_steps, state=state)
        elif found := PHASE.match(line):
            self._bar.update(self._task, state=AFTER_PHASE.get(found[1], ""))
