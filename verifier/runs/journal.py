"""The run directory: append-only, every file written whole, one harness at a time."""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from pydantic import ValidationError

from verifier.errors import RunDirectoryError
from verifier.schemas.base import StrictModel
from verifier.schemas.run_record_json import Attempt, AttemptLog, Evidence, RunPlan

SEALS = "SHA256SUMS"
"""In each folder, the hash of every record that was written there, as sha256sum prints it."""
DISK_HINT = "finished seeds are kept: make room, or give another --out"
Model = TypeVar("Model", bound=StrictModel)


class Journal:
    """One run directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for ourselves.

        Raises:
            RunDirectoryError: another harness holds it, or it cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("w")
        except OSError as error:
            raise RunDirectoryError(
                f"{self.folder}: {error.strerror}; give another --out"
            ) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunDirectoryError(
                    f"{self.folder}: another pgolf-verify is at work there; wait for it"
                ) from error
            yield

    def begin(self, plan: RunPlan, resume: bool) -> None:
        """Write the plan before the first run, or meet the same plan again.

        Raises:
            RunDirectoryError: the directory holds another plan, or this one without --resume.
        """
        path = self.folder / "plan.json"
        if not path.exists():
            write_record(path, plan)
            return
        if _identity(read_record(path, RunPlan)) != _identity(plan):
            raise RunDirectoryError(
                f"{self.folder}: holds the runs of another plan (submission, data, seeds, rules or "
                "verifier differ); give another --out"
            )
        if not resume:
            raise RunDirectoryError(
                f"{self.folder}: this plan was begun before; go on with --resume, "
                "or give another --out for fresh runs"
            )

    def plan(self) -> RunPlan:
        """The plan on disk."""
        return read_record(self.folder / "plan.json", RunPlan)

    def seed_folder(self, seed: int) -> Path:
        """Where a seed's files lie."""
        return self.folder / f"seed_{seed}"

    def replica_folder(self, seed: int) -> Path:
        """Where the files of a run of the author's own seed lie."""
        return self.folder / f"replica_{seed}"

    def attempts(self, folder: Path) -> tuple[Attempt, ...]:
        """Attempts at a seed that do not count, in order; kept beside the folder of the last one.

        An attempt that was cut short left a folder without a measurement, and is one of them.
        """
        log = recorded(_attempts_path(folder), AttemptLog)
        return log.attempts if log else ()

    def note_attempt(self, folder: Path, attempt: Attempt) -> None:
        """Write an attempt down before the next one starts."""
        attempts = (*self.attempts(folder), attempt)
        write_record(_attempts_path(folder), AttemptLog(attempts=attempts))

    def forget_conclusions(self, seed: int) -> None:
        """Remove what was concluded from a seed that is run again: that there was nothing to see.

        Raises:
            RunDirectoryError: the disk refuses.
        """
        names = [f"stream_{seed}/stream.json"]
        if seed == self.plan().seeds[0]:
            names += ["probe/probe.json", "sampled.json", "fresh.json"]
        for path in (self.folder / name for name in names):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise RunDirectoryError(f"{path}: {error.strerror}; {DISK_HINT}") from error

    def evidence(self) -> Evidence:
        """The evidence on disk."""
        return read_record(self.folder / "evidence.json", Evidence)


def _identity(plan: RunPlan) -> RunPlan:
    """The plan less the place of its data, where hashes say what the data is."""
    hashed = all(file.sha256 for file in plan.data)
    return plan.model_copy(update={"data_folder": ""}) if hashed else plan


def _attempts_path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.attempts.json")


class SeedFiles:
    """The two files of a running seed: what it said, and our time of each line.

    Whoever reads along, or after the harness was killed, finds every line that has its time.

    Raises:
        RunDirectoryError: the disk is full or refuses.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with self._disk_errors():
            self._log: BinaryIO = (folder / "stdout.log").open("wb")
            self._events = (folder / "events.jsonl").open("w", encoding="utf-8")

    def line(self, seconds: float, line: bytes, timed: bool) -> None:
        """Append one line of output, with its time unless a flood made times worthless."""
        with self._disk_errors():
            self._log.write(line + b"\n")
            if timed:
                text = line[:400].decode("utf-8", "replace")
                self._events.write(json.dumps({"seconds": round(seconds, 4), "line": text}) + "\n")
                self._log.flush()
                self._events.flush()

    def close(self) -> None:
        """Write what is left, and close both.

        Raises:
            RunDirectoryError: the disk is full or refuses.
        """
        with self._disk_errors(), self._log, self._events:
            pass

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunDirectoryError(f"{self._folder}: {error.strerror}; {DISK_HINT}") from error


def write_record(path: Path, record: StrictModel, hint: str = DISK_HINT) -> None:
    """Write a record so that it is on disk whole or not at all; in ASCII, so that none acts.

    Its hash is noted first, so that what another hand changes later is seen. Whoever changes the
    note as well is not: a run directory is worth what the machine is worth that it comes from.

    Args:
        path: where.
        record: what.
        hint: what to do about a disk that is full.

    Raises:
        RunDirectoryError: the disk is full or refuses; what was there before is untouched.
    """
    text = json.dumps(record.model_dump(mode="json"), indent=2) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (path.parent / SEALS).open("a", encoding="ascii") as seals:
            seals.write(_seal(path, text.encode()) + "\n")
    except OSError as error:
        raise RunDirectoryError(f"{path}: {error.strerror}; {hint}") from error
    write_atomically(path, text, hint)


def _seal(path: Path, content: bytes) -> str:
    return f"{hashlib.sha256(content).hexdigest()}  {path.name}"


def write_atomically(path: Path, content: str | bytes, hint: str = DISK_HINT) -> None:
    """Write to a neighbour, then rename it into place; the hint says what to do if that fails.

    Raises:
        RunDirectoryError: the disk is full or refuses; what was there before is untouched.
    """
    # One name for all: what a killed harness left half-written is written over by the next.
    neighbour = path.with_name(f".{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with neighbour.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        neighbour.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            neighbour.unlink()
        raise RunDirectoryError(f"{path}: {error.strerror}; {hint}") from error


def recorded(path: Path, model: type[Model]) -> Model | None:
    """A record of ours, or None where it was never finished: half-written files count not.

    Raises:
        RunDirectoryError: the file is there but is not what was written.
    """
    return read_record(path, model) if path.exists() else None


def _way_on(folder: Path) -> str:
    """What to do about a record that a folder lacks."""
    if not (folder / "plan.json").is_file():
        return f"is {folder} a run directory?"
    if (folder / "evidence.json").is_file():
        return f"`pgolf-verify judge {folder}` gives the verdict"
    return "the run was not finished: repeat its command with --resume"


def read_record(path: Path, model: type[Model]) -> Model:
    """Read a record of ours back.

    Raises:
        RunDirectoryError: missing, not what this version writes, or changed since it was written.
    """
    try:
        content = path.read_bytes()
        record = model.model_validate_json(content)
        # Anywhere in the file: a full disk may have left half a line before it.
        sealed = _seal(path, content) in (path.parent / SEALS).read_text(encoding="ascii")
    except OSError as error:
        raise RunDirectoryError(f"{path}: {error.strerror}; {_way_on(path.parent)}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RunDirectoryError(
            f"{path}: damaged or of another version ({where}: {first['msg']}); "
            "run the submission again into another --out"
        ) from error
    if not sealed:
        raise RunDirectoryError(
            f"{path}: changed since it was written; run the submission again into another --out"
        )
    return record
