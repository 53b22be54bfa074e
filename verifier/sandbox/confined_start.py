"""The process between the harness and a command under Landlock: restricts it, buries its tree.

`main` is started in a Python of its own with the arguments REQUEST_FD STATUS_FD HARNESS_PID. It
waits for a ConfinedRequest on the first pipe, forks, restricts the child and lets it become the
command. On the second pipe it says what went wrong before that; silence means the command runs. It
adopts every orphan of the command, and kills all that is left when the command ends, when it is
told to end (SIGTERM), and when the harness dies.
"""

import dataclasses
import json
import os
import resource
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from verifier.sandbox.landlock import READ, READ_DIR, USE, WRITE, Ruleset
from verifier.sandbox.seccomp import filter_program, install_filter
from verifier.sandbox.system_calls import LIBC, checked

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
TORCHRUN_PORTS = range(29_400, 29_601)
"""Where torchrun meets by default (29400, 29500) when it is not told to choose a free port."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfinedRequest:
    """Everything that the command will be and may do, as plain JSON values."""

    argv: list[str]
    environment: dict[str, str]
    workdir: str
    runner_id: int | None
    """User and group that the command gets; None where we may not change them."""
    listable: list[str]
    """Folders whose names may be read, and nothing of their files."""
    readable: list[str]
    usable: list[str]
    writable: list[str]
    file_bytes: int
    num_processes: int | None
    """None where something better than a limit by user holds."""

    def to_json(self) -> bytes:
        return json.dumps(dataclasses.asdict(self)).encode()


def main() -> None:
    """Run one command and exit as it did: its code, or 128 + the signal that killed it."""
    request_fd, status_fd, harness_pid = map(int, sys.argv[1:])
    signal.signal(signal.SIGTERM, _end)
    checked(LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0))
    if os.getppid() != harness_pid:  # it died before the kernel was to tell us
        return
    checked(LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
    with os.fdopen(request_fd, "rb") as pipe:
        text = pipe.read()
    if not text:  # the harness died or thought better of it
        return
    command = os.fork()
    if command == 0:
        _become(ConfinedRequest(**json.loads(text)), status_fd)
    os.close(status_fd)
    code = _wait_for(command)
    _kill_descendants()
    os._exit(code)


def _become(request: ConfinedRequest, status_fd: int) -> None:
    """Turn this process into the command; never returns."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.set_inheritable(status_fd, False)
        os.setsid()
        os.chdir(request.workdir)
        _set_limits(request)
        rules = _ruleset(request)
        if request.runner_id is not None:
            os.setgroups([])
            os.setresgid(*[request.runner_id] * 3)
            os.setresuid(*[request.runner_id] * 3)
        rules.restrict_self()
        if (program := filter_program(on_the_host=True)) is not None:
            install_filter(program)
        os.execvpe(request.argv[0], request.argv, request.environment)
    except BaseException as error:
        os.write(status_fd, f"{type(error).__name__}: {error}".encode())
    finally:
        os._exit(125)


def _ruleset(request: ConfinedRequest) -> Ruleset:
    rules = Ruleset()
    for paths, access in (
        (request.listable, READ_DIR),
        (request.readable, READ),
        (request.usable, USE),
        (request.writable, WRITE),
    ):
        for path in paths:
            rules.allow(Path(path), access)
    rules.allow_connections(TORCHRUN_PORTS)
    first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    rules.allow_connections(range(int(first), int(last) + 1))
    return rules


def _set_limits(request: ConfinedRequest) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (request.file_bytes, request.file_bytes))
    if request.num_processes is not None:
        resource.setrlimit(resource.RLIMIT_NPROC, (request.num_processes,) * 2)


def _wait_for(command: int) -> int:
    """Bury whoever dies until the command does."""
    while True:
        pid, status = os.wait()
        if pid == command:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _end(*_: object) -> None:
    _kill_descendants()
    os._exit(128 + signal.SIGTERM)


def _kill_descendants() -> None:
    """Kill until nobody is left: every orphan below us becomes our child, so it cannot hide."""
    while True:
        for pid in _descendants(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.002)


def _descendants(ancestor: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parent = int(stat.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found = [ancestor]
    for pid in found:  # grows as it is walked
        found += children.get(pid, [])
    return found[1:]
