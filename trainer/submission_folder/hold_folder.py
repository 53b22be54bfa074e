"""One command at a time works on a submission's folder."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from trainer.errors import FolderError


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made if need be, against every other command until this one ends.

    Nothing is written for that: the lock is the kernel's, and goes with the process. A folder in
    which nothing was put is taken away again.

    Raises:
        FolderError: another command is at work there, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise FolderError(
            f"{folder}: cannot write here: {error.strerror}; make room, or choose another --out"
        ) from None
    try:
        _lock(place, folder)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                folder.rmdir()  # refused where there is something
    finally:
        os.close(place)


def _lock(place: int, folder: Path) -> None:
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FolderError(
            f"{folder}: another pgolf-train is at work there; wait for it, or choose another --out"
        ) from None
