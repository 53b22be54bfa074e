"""What a run shows while it goes: one live line on a terminal, plain lines elsewhere."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Column

from verifier.claims.training_log import TrainingLogReader, TrainPoint
from verifier.reports import figures
from verifier.reports.foreign_text import visible
from verifier.schemas.base import Quantity
from verifier.schemas.run_record_json import SeedMeasurement
from verifier.schemas.track_yaml import Limits

REDRAW_SECONDS = 0.2
PLAIN_SECONDS = 10.0
WIDTH_WITH_BAR = 100


class LiveRun:
    """Shows run, phase, time of its budget, step, loss, tokens a second, score; a RunObserver.

    The live line is there only while a seed runs, so that it leaves no gap between plain lines.
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._is_live = console.is_interactive and not quiet
        self._progress = Progress(*_columns(console.width), console=console, transient=True)
        self._label = ""
        self._stage = self._phase = ""
        self._began_seconds = 0.0
        self._limits: Limits | None = None
        self._is_small = False
        self._next_seconds = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end_line()

    def note(self, text: str) -> None:
        """One plain line, unless quiet."""
        if not self._quiet:
            self._console.print(visible(text), markup=False, highlight=False, soft_wrap=True)

    def run_started(self, label: str) -> None:
        """Begin a live line, or say so in a plain one."""
        self._end_line()
        self._label = label
        if self._is_live:
            self._progress.add_task(label, total=None, note="starting")
            self._progress.start()
        else:
            self.note(f"{label}: started")

    def stage_started(self, name: str, seconds: float, limits: Limits, is_small: bool) -> None:
        """The next process of the run begins, so many seconds after the first."""
        self._stage, self._limits, self._is_small = name, limits, is_small
        self._phase, self._began_seconds = name if name == "evaluation" else "start", seconds
        self._next_seconds = seconds
        for task in self._progress.task_ids:
            self._progress.reset(task, total=None, note=f"{self._phase} begins")

    def line_read(self, seconds: float, reader: TrainingLogReader) -> None:
        """Tell how far the run is, where it is time to tell again."""
        if seconds < self._next_seconds or not (reader.latest or reader.latest_bpb):
            return
        self._enter_phase(seconds, reader)
        self._next_seconds = seconds + (REDRAW_SECONDS if self._is_live else PLAIN_SECONDS)
        note = self._note(seconds, reader)
        if not self._is_live:
            self.note(f"{self._label}: {note}")
        for task in self._progress.task_ids:
            if point := reader.latest:
                self._progress.update(task, completed=point.step, total=point.planned_steps)
            self._progress.update(task, note=note)

    def seed_finished(self, measurement: SeedMeasurement, repeated: bool) -> None:
        """End the live line and tell how the seed ended."""
        self._end_line()
        again = " (finished before, not run again)" if repeated else ""
        self.note(
            f"seed {measurement.seed}: {measurement.outcome}, {figures.bpb(measurement.val_bpb)} "
            f"BPB, {measurement.wall_seconds:.1f} s{again}"
            + ("" if measurement.outcome == "completed" else f": {measurement.detail}")
        )

    def _end_line(self) -> None:
        for task in self._progress.task_ids:
            self._progress.stop()
            self._progress.remove_task(task)

    def _enter_phase(self, seconds: float, reader: TrainingLogReader) -> None:
        """What goes on, as far as the lines tell where one process does everything."""
        phase = self._stage
        if phase != "evaluation" and reader.latest:
            packed = "evaluation" if phase == "run" else "packing"
            loop = "packing" if reader.has_trained else "training"
            phase = packed if reader.has_packed else loop
        if phase != self._phase:
            self._phase, self._began_seconds = phase, seconds

    def _note(self, seconds: float, reader: TrainingLogReader) -> str:
        parts = [f"{self._phase} {self._clock(seconds)}"]
        if self._phase == "training" and (point := reader.latest):
            parts += self._time_left(point)  # first, because a narrow terminal cuts the end
            parts.append(f"step {point.step}/{point.planned_steps}, loss {point.train_loss:.3f}")
            parts += _pace(point, reader.setting("train_batch_tokens"))
        if reader.latest_bpb is not None:
            parts.append(f"{reader.latest_bpb:.4f} BPB")
        return ", ".join(parts)

    def _clock(self, seconds: float) -> str:
        """Seconds of the phase, of its budget where it has one; a small run has one end for all."""
        gone_seconds, limits = seconds - self._began_seconds, self._limits
        if limits is not None and self._is_small:
            hard_seconds = limits.hard_wall_seconds.value
            return f"{gone_seconds:.0f} s, run {seconds:.0f} of {hard_seconds:.0f} s"
        budget = self._budget()
        of = "" if budget is None else f" of {budget.value:.0f}"
        return f"{gone_seconds:.0f}{of} s"

    def _budget(self) -> Quantity | None:
        """The track's budget for the phase; None where it has none, or the run is a small one."""
        if self._limits is None or self._is_small:
            return None
        limits = {"training": self._limits.train_seconds, "evaluation": self._limits.eval_seconds}
        return limits.get(self._phase)

    def _time_left(self, point: TrainPoint) -> list[str]:
        """Until the last planned step or the end of the budget, whichever comes first."""
        if not point.train_seconds or not point.step:
            return []
        by_steps = (point.planned_steps - point.step) * point.train_seconds / point.step
        budget = self._budget()
        by_clock = budget.value - point.train_seconds if budget else by_steps
        left_seconds = min(by_steps, by_clock)
        return [f"{left_seconds:.0f} s left"] if left_seconds > 0 else []


def _columns(width: int) -> list[ProgressColumn]:
    """What is told last is cut first; a narrow terminal has no room for a bar."""
    label, note = "{task.description}", TextColumn("{task.fields[note]}")
    if width >= WIDTH_WITH_BAR:
        return [TextColumn(label), TimeElapsedColumn(), BarColumn(bar_width=16), note]
    return [TextColumn(label, table_column=Column(no_wrap=True, max_width=width // 3)), note]


def _pace(point: TrainPoint, batch_tokens: str | None) -> list[str]:
    """Tokens a second, where the log tells how many a step takes."""
    if not point.train_seconds or batch_tokens is None or not batch_tokens.isdigit():
        return []
    return [f"{int(batch_tokens) * point.step / point.train_seconds:,.0f} tokens/s"]
