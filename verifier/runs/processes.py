"""One process of a seed in the sandbox, with its output on the way to files, reader and watcher."""

import contextlib
import sys
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from verifier.claims.training_log import TrainingLogReader
from verifier.runs.harness import Harness, RunObserver, sandbox_limits, scored_text
from verifier.runs.journal import SeedFiles
from verifier.runs.last_words import LastWords
from verifier.runs.launch import DATA_INSIDE
from verifier.runs.measure import Stage
from verifier.runs.plan import PreparedRun
from verifier.runs.scores import ScoredText
from verifier.runs.visibility import Mounts, hidden_text
from verifier.sandbox.base import SandboxCommand
from verifier.schemas.run_record_json import SMALL_RUNGS

MAX_TIMED_LINES = 1_000_000
MIN_WALL_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What all processes of a plan have in common."""

    prepared: PreparedRun
    harness: Harness

    @property
    def text(self) -> ScoredText:
        return scored_text(self.harness.track, self.prepared.data.scored_tokens)

    @property
    def keeps_losses(self) -> bool:
        """Whether the losses of single tokens are looked at after the run."""
        return self.prepared.plan.rung in ("floor", "probe", "stream")


class Listener:
    """Takes each line of a running seed to its files, the log reader and whoever watches."""

    def __init__(self, files: SeedFiles, observer: RunObserver) -> None:
        self.reader = TrainingLogReader()
        self.seconds = array("d")
        self.last_words = LastWords()
        self.offset = 0.0
        """Seconds of the seed before the process that speaks now."""
        self.launched: float | None = None
        """`time.monotonic()` at its launch, once it has said a line."""
        self._files = files
        self._observer = observer

    def next_process(self, offset: float) -> None:
        """Read the next process's output by itself, its lines numbered on."""
        self.reader = TrainingLogReader()
        self.reader.skip_lines(len(self.seconds))
        self.last_words = LastWords()
        self.offset, self.launched = offset, None

    def line(self, seconds: float, line: bytes) -> None:
        """Take a line that the process printed so many seconds after its launch.

        Raises:
            RunDirectoryError: the disk is full or refuses.
        """
        if self.launched is None:
            self.launched = time.monotonic() - seconds
        timed = len(self.seconds) < MAX_TIMED_LINES
        at = self.offset + seconds
        self._files.line(at, line, timed)
        if not timed:
            return
        self.seconds.append(at)
        text = line.decode("utf-8", "replace")
        self.last_words.hear(text)
        self.reader.feed(text)
        self._observer.line_read(at, self.reader)


@contextlib.contextmanager
def listening(folder: Path, setting: Setting) -> Iterator[Listener]:
    """A listener that writes to a seed's folder.

    Raises:
        RunDirectoryError: the disk refuses.
    """
    files = SeedFiles(folder)
    try:
        yield Listener(files, setting.harness.observer)
    finally:
        files.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """What is started for a seed, where, and with which data in sight."""

    name: str
    seed: int
    argv: tuple[str, ...]
    environment: dict[str, str]
    workdir: Path
    mounts: Mounts


def run_process(process: Process, setting: Setting, listener: Listener) -> Stage:
    """Run it to its end or its first limit; a seed's processes share the track's hard wall time.

    Raises:
        SandboxUnavailableError: the sandbox could not start.
        KeyboardInterrupt: the process was killed.
    """
    limits = setting.harness.track.limits
    is_small = setting.prepared.plan.rung in SMALL_RUNGS
    setting.harness.observer.stage_started(process.name, listener.offset, limits, is_small)
    allowed = sandbox_limits(limits)
    left_seconds = max(allowed.wall_seconds - listener.offset, MIN_WALL_SECONDS)
    command = SandboxCommand(
        argv=(sys.executable, *process.argv[1:]),
        workdir=process.workdir,
        environment=_environment(process, setting),
        read_only=process.mounts,
        hidden=hidden_text(),
    )
    result = setting.harness.sandbox.execute(
        command, replace(allowed, wall_seconds=left_seconds), listener.line
    )
    return Stage(
        name=process.name,
        result=result,
        log=listener.reader.result(),
        last_words=listener.last_words.text,
        rank_failed=listener.last_words.rank_failed,
    )


def _environment(process: Process, setting: Setting) -> dict[str, str]:
    own = {"SEED": str(process.seed), "RUN_ID": f"seed_{process.seed}"}
    if not setting.harness.sandbox.sees_host_paths:
        return process.environment | own
    data = str(setting.prepared.data.folder.resolve())
    planned = {n: v.replace(DATA_INSIDE, data, 1) for n, v in process.environment.items()}
    return planned | own
