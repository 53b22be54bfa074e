"""What lies in a working folder when a script starts, and that nothing of it stays."""

import contextlib
import errno
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from verifier.errors import HarnessError, RunDirectoryError
from verifier.intake.submission import FileKind, Submission
from verifier.runs.journal import DISK_HINT
from verifier.sandbox.scratch import remove_tree
from verifier.track_data import file_sha256

WITHHELD = (FileKind.LOG, FileKind.README, FileKind.METADATA)
"""Files that say what the score should be; a script that needs them trains on nothing."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def fresh_folder(path: Path) -> Iterator[Path]:
    """An empty folder that is gone afterwards, whatever was written into it.

    Raises:
        RunDirectoryError: the disk refuses.
    """
    with disk_errors(path):
        remove_tree(path)
        path.mkdir()
    try:
        yield path
    finally:
        with disk_errors(path):
            remove_tree(path)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the disk says about `path` into one line of ours."""
    try:
        yield
    except OSError as error:
        raise RunDirectoryError(f"{path}: {error.strerror}; {DISK_HINT}") from error


def deliver_submission(submission: Submission, workdir: Path) -> dict[str, int]:
    """Copy what the script may need, and nothing that states a score: file → bytes.

    Raises:
        HarnessError: a file is not the one that was read, or cannot be copied.
        RunDirectoryError: the disk is full.
    """
    wanted = {f.path.as_posix() for f in submission.files if f.kind not in WITHHELD}
    return _deliver(submission, workdir, wanted)


def deliver_code(submission: Submission, workdir: Path, code: tuple[str, ...]) -> dict[str, int]:
    """Copy the files that count as code, as they were handed in: file → bytes.

    Raises:
        HarnessError: as in deliver_submission.
    """
    return _deliver(submission, workdir, set(code))


def deliver_artifact(files: Mapping[str, Path], workdir: Path) -> dict[str, int]:
    """Copy contents alone, so that no time, mode or attribute carries anything: file → bytes."""
    for name, source in files.items():
        with disk_errors(workdir):
            (workdir / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, workdir / name, follow_symlinks=False)
    return {name: (workdir / name).stat().st_size for name in files}


def _deliver(submission: Submission, workdir: Path, wanted: set[str]) -> dict[str, int]:
    delivered = {}
    for file in submission.files:
        if file.path.as_posix() not in wanted:
            continue
        source, target = submission.root / file.path, workdir / file.path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target, follow_symlinks=False)
            unchanged = not target.is_symlink() and file_sha256(target) == file.sha256
        except OSError as error:
            if error.errno in _FULL:
                raise RunDirectoryError(f"{workdir}: {error.strerror}; {DISK_HINT}") from error
            raise HarnessError(
                f"{source}: cannot be handed to the run: {error.strerror}"
            ) from error
        if not unchanged:
            raise HarnessError(f"{source}: changed while it was being read; start again")
        delivered[file.path.as_posix()] = file.num_bytes
    return delivered
