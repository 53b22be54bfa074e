"""What of other processes can be seen, signalled or read, and what a process may make of itself."""

import os
import resource
from pathlib import Path

from verifier.sandbox.conformance.inside.planted import Planted
from verifier.sandbox.system_calls import system_call

PTRACE_SEIZE = 0x4206


def host_processes_are_hidden(planted: Planted) -> str | None:
    """No process of the host shows its command line."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if planted.marker.encode() in (process / "cmdline").read_bytes():
                return f"the command line of process {process.name} outside can be read"
        except OSError:
            continue
    return None


def host_processes_cannot_be_signalled(planted: Planted) -> str | None:
    """No signal reaches a process of the harness's user."""
    return _does(planted, "signalled", lambda pid: os.kill(pid, 0))


def host_processes_cannot_be_traced(planted: Planted) -> str | None:
    """No debugger's call reaches a process of the harness's user."""

    def trace(pid: int) -> None:
        system_call("ptrace", PTRACE_SEIZE, pid, None, None)

    return _does(planted, "traced", trace)


def host_memory_cannot_be_read(planted: Planted) -> str | None:
    """The memory of a process of the harness's user cannot be opened."""
    return _does(planted, "read", lambda pid: os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY)))


def host_priority_cannot_be_changed(planted: Planted) -> str | None:
    """A process of the harness's user cannot be slowed down."""

    def slow_down(pid: int) -> None:
        os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid))

    return _does(planted, "slowed down", slow_down)


def own_priority_cannot_be_raised(planted: Planted) -> str | None:
    """A process cannot put itself before those that measure it."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        return "real-time scheduling can be had"
    except OSError:
        pass
    try:
        os.nice(-1)
    except OSError:
        return None
    return "the priority can be raised"


def limits_cannot_be_raised(planted: Planted) -> str | None:
    """Core dumps are off, and cannot be switched on again."""
    if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):
        return "core dumps are on"
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    except (OSError, ValueError):
        return None
    return "a hard limit can be raised"


def cpus_are_those_of_the_harness(planted: Planted) -> str | None:
    """The command may use the CPUs that the harness may use, no fewer and no more."""
    own = tuple(sorted(os.sched_getaffinity(0)))
    return None if own == planted.cpus else f"it may use {own} of {planted.cpus}"


def no_terminal_is_attached(planted: Planted) -> str | None:
    """There is no terminal into which commands could be typed."""
    if any(os.isatty(descriptor) for descriptor in (0, 1, 2)):
        return "a standard stream is a terminal"
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return None
    return "there is a controlling terminal"


def shared_memory_of_the_host_is_hidden(planted: Planted) -> str | None:
    """System V segments, queues and semaphores of others cannot be seen."""
    tables = [Path("/proc/sysvipc") / name for name in ("shm", "msg", "sem")]
    rows = [len(table.read_text().splitlines()) - 1 for table in tables if table.exists()]
    return "some of others can be seen" if any(rows) else None


def _does(planted: Planted, what: str, action: object) -> str | None:
    """Try an action on the bystander; a process of ours with the same number does not count."""
    assert callable(action)
    command_line = Path(f"/proc/{planted.bystander_pid}/cmdline")
    try:
        ours = planted.marker.encode() not in command_line.read_bytes()
        if not ours:
            action(planted.bystander_pid)
    except OSError:
        return None
    return None if ours else f"process {planted.bystander_pid} outside can be {what}"
