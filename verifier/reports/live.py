"""What a run shows while it goes: one live line on a terminal, plain lines elsewhere."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from verifier.reports import figures
from verifier.reports.foreign_text import visible
from verifier.schemas.run_record_json import SeedMeasurement
from verifier.training_log import TrainingLogReader

REDRAW_SECONDS = 0.2
PLAIN_SECONDS = 10.0


class LiveRun:
    """Shows seed, phase, step, last loss, time gone and left; a RunObserver."""

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._progress.add_task("", note="", visible=False)
        self._label = ""
        self._next_seconds = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def note(self, text: str) -> None:
        """One plain line, unless quiet."""
        if not self._quiet:
            self._console.print(visible(text), markup=False, highlight=False)

    def seed_started(self, seed: int, position: int, total: int) -> None:
        self._label = f"seed {seed} ({position}/{total})"
        self._next_seconds = 0.0
        self._progress.reset(
            self._task, total=None, description=self._label, note="starting", visible=True
        )
        if not self._console.is_terminal:
            self.note(f"{self._label}: started")

    def line_read(self, seconds: float, reader: TrainingLogReader) -> None:
        if seconds < self._next_seconds:
            return
        self._next_seconds = seconds + (
            REDRAW_SECONDS if self._console.is_terminal else PLAIN_SECONDS
        )
        step, planned, note = _state(reader)
        self._progress.update(self._task, completed=step, total=planned, note=note)
        if not self._console.is_terminal and step:
            self.note(f"{self._label}: {seconds:.0f} s, step {step}/{planned}, {note}")

    def seed_finished(self, measurement: SeedMeasurement, repeated: bool) -> None:
        self._progress.update(self._task, visible=False)
        again = " (finished before, not run again)" if repeated else ""
        self.note(
            f"seed {measurement.seed}: {measurement.outcome}, {figures.bpb(measurement.val_bpb)} "
            f"BPB, {measurement.wall_seconds:.1f} s{again}"
            + ("" if measurement.outcome == "completed" else f": {measurement.detail}")
        )


def _state(reader: TrainingLogReader) -> tuple[int, int | None, str]:
    point = reader.latest
    if point is None:
        return 0, None, "starting"
    loss = NO_LOSS if point.train_loss is None else f"loss {point.train_loss:.3f}"
    return point.step, point.planned_steps, loss


NO_LOSS = "loss –"
