"""RunPlan + Sandbox → measurements, one seed after another, each on disk before the next starts."""

import contextlib
import shutil
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from verifier.errors import HarnessError, RunDirectoryError
from verifier.runs.journal import Journal, SeedFiles, write_record
from verifier.runs.measure import ScoredText, SeedRun, measure
from verifier.runs.plan import DATA_INSIDE, PreparedRun
from verifier.sandbox.base import Sandbox, SandboxCommand
from verifier.sandbox.limits import SandboxLimits
from verifier.sandbox.scratch import remove_tree
from verifier.schemas.run_record_json import SeedMeasurement
from verifier.schemas.track_yaml import Limits, Track
from verifier.submission import FileKind, Submission
from verifier.track_data import TrackData, file_sha256
from verifier.training_log import TrainingLogReader

WITHHELD = (FileKind.LOG, FileKind.README, FileKind.METADATA)
"""Files that say what the score should be; a script that needs them trains on nothing."""
MAX_TIMED_LINES = 1_000_000


class RunObserver(Protocol):
    """Who watches a run; shows, never decides."""

    def seed_started(self, seed: int, position: int, total: int) -> None: ...
    def line_read(self, seconds: float, reader: TrainingLogReader) -> None: ...
    def seed_finished(self, measurement: SeedMeasurement, repeated: bool) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Harness:
    """Everything a run needs beside its plan."""

    submission: Submission
    code_bytes: int | None
    """What the folder ships of code; None where that is unclear."""
    track: Track
    sandbox: Sandbox
    journal: Journal
    observer: RunObserver


def execute(prepared: PreparedRun, harness: Harness) -> tuple[SeedMeasurement, ...]:
    """Run every planned seed that has no measurement yet, in order.

    Raises:
        SandboxUnavailableError: the sandbox could not start.
        RunDirectoryError: a file could not be written; finished seeds are on disk.
        KeyboardInterrupt: the running seed was killed; finished seeds are on disk.
    """
    measurements = []
    for position, seed in enumerate(prepared.plan.seeds, start=1):
        finished = harness.journal.finished(seed)
        if finished is None:
            harness.observer.seed_started(seed, position, len(prepared.plan.seeds))
            measurement = _run_seed(seed, prepared, harness)
            write_record(harness.journal.seed_folder(seed) / "measurement.json", measurement)
        else:
            measurement = finished
        harness.observer.seed_finished(measurement, repeated=finished is not None)
        measurements.append(measurement)
    return tuple(measurements)


def sandbox_limits(limits: Limits) -> SandboxLimits:
    """The track's hard limits as the sandbox takes them."""
    return SandboxLimits(
        wall_seconds=limits.hard_wall_seconds.value,
        memory_bytes=int(limits.memory_bytes.value),
        num_processes=int(limits.num_processes.value),
        output_bytes=int(limits.output_bytes.value),
        scratch_bytes=int(limits.scratch_bytes.value),
    )


def scored_text(track: Track, num_tokens: int) -> ScoredText:
    """How many bytes of text the validation tokens stand for, where the track pins it."""
    for family in track.dataset.families:
        if family.scored_tokens == num_tokens:
            return ScoredText(num_tokens=num_tokens, num_bytes=family.scored_bytes)
    return ScoredText(num_tokens=num_tokens, num_bytes=None)


def _run_seed(seed: int, prepared: PreparedRun, harness: Harness) -> SeedMeasurement:
    folder = harness.journal.seed_folder(seed)
    with _disk_errors(folder):
        remove_tree(folder)  # a run that was cut short; nothing in it counts
        folder.mkdir()
    with _workdir(folder / "work") as workdir:
        delivered = _deliver(harness.submission, workdir)
        command = SandboxCommand(
            argv=(sys.executable, *prepared.plan.argv[1:]),
            workdir=workdir,
            environment=_environment(seed, prepared, harness.sandbox),
            read_only=_visible_data(prepared.data),
        )
        listener = _Listener(SeedFiles(folder), harness.observer)
        try:
            result = harness.sandbox.execute(
                command, sandbox_limits(harness.track.limits), listener.line
            )
        finally:
            listener.files.close()
        run = SeedRun(
            seed=seed,
            result=result,
            log=listener.reader.result(),
            line_seconds=listener.seconds,
            last_words=listener.last_words,
            workdir=workdir,
            log_path=folder / "stdout.log",
            delivered=delivered,
            shipped_code_bytes=harness.code_bytes,
        )
        text = scored_text(harness.track, prepared.data.scored_tokens)
        return measure(run, harness.submission, text)


class _Listener:
    """Takes each line of a running seed to its files, the log reader and whoever watches."""

    def __init__(self, files: SeedFiles, observer: RunObserver) -> None:
        self.files = files
        self.reader = TrainingLogReader()
        self.seconds = array("d")
        self.last_words = ""
        self._observer = observer

    def line(self, seconds: float, line: bytes) -> None:
        timed = len(self.seconds) < MAX_TIMED_LINES
        self.files.line(seconds, line, timed)
        if not timed:
            return
        self.seconds.append(seconds)
        text = line.decode("utf-8", "replace")
        self.last_words = text.strip() or self.last_words
        self.reader.feed(text)
        self._observer.line_read(seconds, self.reader)


@contextlib.contextmanager
def _workdir(path: Path) -> Iterator[Path]:
    """An empty folder that is gone afterwards, whatever was written into it."""
    with _disk_errors(path):
        path.mkdir()
    try:
        yield path
    finally:
        with _disk_errors(path):
            remove_tree(path)


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunDirectoryError(f"{path}: {error.strerror}; finished seeds are kept") from error


def _deliver(submission: Submission, workdir: Path) -> dict[str, int]:
    """Copy what the script may need, and nothing that states a score: file → bytes.

    Raises:
        HarnessError: a file is not the one that was read, or cannot be copied.
    """
    delivered = {}
    for file in submission.files:
        if file.kind in WITHHELD:
            continue
        source, target = submission.root / file.path, workdir / file.path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target, follow_symlinks=False)
            unchanged = not target.is_symlink() and file_sha256(target) == file.sha256
        except OSError as error:
            raise HarnessError(
                f"{source}: cannot be handed to the run: {error.strerror}"
            ) from error
        if not unchanged:
            raise HarnessError(f"{source}: changed while it was being read; start again")
        delivered[file.path.as_posix()] = file.num_bytes
    return delivered


def _visible_data(data: TrackData) -> dict[Path, str]:
    """The dataset and the tokenizers; whatever else lies in the data folder stays out of sight."""
    return {
        folder.resolve(): f"{DATA_INSIDE}/{folder.relative_to(data.folder).as_posix()}"
        for folder in (data.dataset, data.tokenizer.parent)
    }


def _environment(seed: int, prepared: PreparedRun, sandbox: Sandbox) -> dict[str, str]:
    environment = prepared.plan.environment | {"SEED": str(seed), "RUN_ID": f"seed_{seed}"}
    if sandbox.sees_host_paths:
        data = str(prepared.data.folder.resolve())
        environment = {n: v.replace(DATA_INSIDE, data, 1) for n, v in environment.items()}
    return environment
