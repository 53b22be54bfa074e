"""How far a long job is: a bar on a terminal, a line now and then anywhere else."""

import time
from collections.abc import Callable
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

ProgressCallback = Callable[[str, int, int], None]  # stage, done, total (0: unknown)

QUIET_SECONDS = 2.0
LINE_SECONDS = 10.0


class ProgressDisplay:
    """Shows nothing for the first two seconds; on stderr unless told otherwise."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:.0f} %"),
        )
        self._bar = Progress(
            *columns,
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=None)
        self._started = time.monotonic()
        self._next_line_seconds = QUIET_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar.live.is_started:
            self._bar.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Report that `done` of `total` units of a stage are done; total 0 if nobody knows."""
        elapsed_seconds = time.monotonic() - self._started
        if self._console.is_terminal:
            self._bar.update(self._task, description=stage, completed=done, total=total or None)
            if elapsed_seconds >= QUIET_SECONDS or not total:
                self._bar.start()
        elif elapsed_seconds >= self._next_line_seconds:
            share = f"{100 * done / total:.0f} %, " if total else ""
            self._console.print(f"{stage}: {share}{elapsed_seconds:.0f} s", highlight=False)
            self._next_line_seconds = elapsed_seconds + LINE_SECONDS
