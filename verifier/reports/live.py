"""What a run shows while it goes: one live line on a terminal, plain lines elsewhere."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from verifier.reports import figures
from verifier.reports.foreign_text import visible
from verifier.schemas.run_record_json import SeedMeasurement
from verifier.training_log import TrainingLogReader, TrainPoint

REDRAW_SECONDS = 0.2
PLAIN_SECONDS = 10.0


class LiveRun:
    """Shows seed, step, last loss, time gone and left; a RunObserver.

    The live line is there only while a seed runs, so that it leaves no gap between plain lines.
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._is_live = console.is_interactive and not quiet
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("gone,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
        )
        self._label = ""
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

    def seed_started(self, seed: int, position: int, total: int) -> None:
        self._label = f"seed {seed} ({position}/{total})"
        self._next_seconds = 0.0
        if self._is_live:
            self._progress.add_task(self._label, total=None, note="starting")
            self._progress.start()
        else:
            self.note(f"{self._label}: started")

    def line_read(self, seconds: float, reader: TrainingLogReader) -> None:
        point = reader.latest
        if point is None or seconds < self._next_seconds:
            return
        self._next_seconds = seconds + (REDRAW_SECONDS if self._is_live else PLAIN_SECONDS)
        note = _note(point)
        if not self._is_live:
            self.note(f"{self._label}: {note}, {seconds:.0f} s gone")
        for task in self._progress.task_ids:
            self._progress.update(task, completed=point.step, total=point.planned_steps, note=note)

    def seed_finished(self, measurement: SeedMeasurement, repeated: bool) -> None:
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


def _note(point: TrainPoint) -> str:
    text = f"step {point.step}/{point.planned_steps}, loss {point.train_loss:.3f}"
    return text if point.step < point.planned_steps else f"{text}; packing and scoring"
