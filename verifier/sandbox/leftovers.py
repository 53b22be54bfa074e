"""Names that say who made a thing, so that what a killed harness left goes at the next start.

A process is known by its namespace, its number and its start time: numbers are given out again,
and the same number in another container is somebody else.
"""

import contextlib
import os
import re
import signal
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
    for path in folder.glob(f"pgolf-{kind}-*"):
        if not _is_orphan(path.name, kind):
            continue
        try:
            # In a folder that all may write to, a stranger's link must not lead us elsewhere.
            if path.lstat().st_uid == os.geteuid() and not path.is_symlink():
                remove(path)
        except OSError:
            continue


def end_orphans(kind: str) -> None:
    """Kill what dead owners left running: processes whose command line begins with such a name."""
    _kill_where(lambda name: _is_orphan(name, kind))


def end_named(name: str) -> None:
    """Kill the processes whose command line begins with this name, until there is none."""
    while _kill_where(lambda first: first == name):
        pass


def _kill_where(is_meant: Callable[[str], bool]) -> int:
    """Kill processes by the first word of their command line; how many there were."""
    killed = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            handle = os.pidfd_open(int(path.parent.name))
            try:  # the number is held now, so what is read is of the process that is killed
                if is_meant(path.read_bytes().partition(b"\0")[0].decode("ascii", "replace")):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    killed += 1
            finally:
                os.close(handle)
    return killed


def _is_orphan(name: str, kind: str) -> bool:
    """Whether a name says that its owner was a process of our namespace that is dead."""
    owner = re.fullmatch(rf"pgolf-{kind}-{_pid_namespace()}-(\d+)-(\d+)-[0-9a-f]+", name)
    return owner is not None and _start_ticks(int(owner[1])) != int(owner[2])


def _pid_namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino


def _start_ticks(pid: int) -> int:
    """Clock ticks from boot to the start of a process; -1 when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return -1
    return int(stat.rpartition(")")[2].split()[START_TIME_FIELD])
