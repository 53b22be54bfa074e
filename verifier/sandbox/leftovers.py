"""Names that say who made a thing, so that what a killed harness left goes at the next start.

A process is known by its namespace, its number and its start time: numbers are given out again,
and the same number in another container is somebody else.
"""

import os
import re
import uuid
from collections.abc import Callable
from pathlib import Path

START_TIME_FIELD = 19
"""Of /proc/<pid>/stat, counted behind the program's name (proc(5), field 22)."""


def owned_name(kind: str) -> str:
    """A new name that carries this process as its owner."""
    pid = os.getpid()
    return f"pgolf-{kind}-{_pid_namespace()}-{pid}-{_start_ticks(pid)}-{uuid.uuid4().hex[:8]}"


def sweep(folder: Path, kind: str, remove: Callable[[Path], None]) -> None:
    """Remove what dead owners left in `folder`; what cannot be removed stays, and harms nobody."""
    pattern = re.compile(rf"pgolf-{kind}-{_pid_namespace()}-(\d+)-(\d+)-[0-9a-f]+")
    for path in folder.glob(f"pgolf-{kind}-*"):
        owner = pattern.fullmatch(path.name)
        if owner is None or _start_ticks(int(owner[1])) == int(owner[2]):
            continue
        try:
            # In a folder that all may write to, a stranger's link must not lead us elsewhere.
            if path.lstat().st_uid == os.geteuid() and not path.is_symlink():
                remove(path)
        except OSError:
            continue


def _pid_namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino


def _start_ticks(pid: int) -> int:
    """Clock ticks from boot to the start of a process; -1 when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return -1
    return int(stat.rpartition(")")[2].split()[START_TIME_FIELD])
