"""The weaker sandbox, for hosts that refuse user namespaces, as many rented containers do.

Covered: files outside the named ones can be neither read nor written; a clean environment; no new
privileges, a system-call filter; TCP to common services, UDP and raw sockets refused; limits; the
whole tree dies, with the harness too. Started as root, the command becomes a user of its own.
Not covered: the network (TCP to high ports is open, because Landlock sees no addresses); names and
sizes of files, and command lines of processes, can be seen; /dev/shm is the host's. What else
fails depends on the kernel: the conformance checks say it for each host.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from verifier.errors import SandboxUnavailableError
from verifier.sandbox.base import Enforcement, ExecResult, OnLine, Sandbox, SandboxCommand
from verifier.sandbox.cgroup import Cgroup
from verifier.sandbox.confined_start import ConfinedRequest
from verifier.sandbox.landlock import landlock_abi
from verifier.sandbox.leftovers import owned_name, sweep
from verifier.sandbox.limits import SandboxLimits
from verifier.sandbox.probing import probe_guarantees
from verifier.sandbox.scratch import remove_tree
from verifier.sandbox.supervision import TreeWatch, start, supervise
from verifier.sandbox.visible_system import (
    SYSTEM_FILES,
    complete_environment,
    gpu_nodes,
    interpreter_folders,
    search_path,
)

PACKAGE_ROOT = Path(__file__).resolve().parents[2]
CONFINED_START = """\
import sys
sys.path.insert(0, sys.argv.pop(1))
from verifier.sandbox.confined_start import main
main()
"""
"""Found by its place, so that it starts in a checkout that nobody installed too."""
LAST_WORDS_SECONDS = 10
"""How long the process between may take to kill the tree before it is killed itself."""
FIRST_RUNNER_ID = 50_000
NUM_RUNNER_IDS = 10_000
"""Users that nobody has; one for each harness, so that two at a time keep apart."""
READABLE = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/sys", *SYSTEM_FILES)
NAMES = ("/etc/passwd", "/etc/group", "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf")
USABLE = (
    *("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"),
    # NVIDIA's driver names its threads there; the file modes still guard the kernel's settings.
    "/proc",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Between:
    """The process that will restrict and bury the command (confined_start.py), not yet told."""

    process: subprocess.Popen[bytes]
    cgroup: Cgroup | None
    request_pipe: int
    status_pipe: int


class Landlock(Sandbox):
    """Runs a command on the host itself, restricted by Landlock and a system-call filter.

    Raises:
        SandboxUnavailableError: the kernel has no Landlock, or the host refuses it.
    """

    name = "landlock"
    sees_host_paths = True

    def __init__(self) -> None:
        if landlock_abi() < 1:
            raise SandboxUnavailableError(
                "this kernel or container has no Landlock (5.13 or later): "
                "use a host where bubblewrap works"
            )

    def execute(
        self, command: SandboxCommand, limits: SandboxLimits, on_line: OnLine
    ) -> ExecResult:
        """See Sandbox.execute; `read_only` is visible at its host path only."""
        runner_id = FIRST_RUNNER_ID + os.getpid() % NUM_RUNNER_IDS if os.geteuid() == 0 else None
        with contextlib.ExitStack() as at_the_end:
            home = at_the_end.enter_context(_private_home())
            if runner_id is not None:
                at_the_end.callback(_clear_shared_memory, runner_id)
                _hand_over((command.workdir, home), runner_id)
                _require_reachable((command.workdir, Path(sys.executable), *command.read_only))
            between = at_the_end.enter_context(_process_between(limits))
            # Without a user of its own, a limit would count all that the host's user runs.
            limited_by_user = runner_id is not None and between.cgroup is None
            request = _request(command, home, runner_id, limits, limited_by_user)
            started = time.monotonic()
            _release(between, request)
            watch = TreeWatch(
                pid=between.process.pid,
                limits=limits,
                scratch=(command.workdir, home),
                cgroup=between.cgroup,
                end_tree=_end_tree,
            )
            return supervise(between.process, watch, on_line, started)

    def guarantees(self, scratch: Path) -> tuple[Enforcement, ...]:
        """See Sandbox.guarantees."""
        return probe_guarantees(self, scratch)


@contextlib.contextmanager
def _private_home() -> Iterator[Path]:
    """An empty folder for HOME and TMPDIR; what a killed harness left of its own goes now."""
    parent = Path(tempfile.gettempdir())
    sweep(parent, "home", remove_tree)
    folder = parent / owned_name("home")
    folder.mkdir(mode=0o755)
    (folder / "home").mkdir()
    try:
        yield folder / "home"
    finally:
        remove_tree(folder)


def _clear_shared_memory(runner_id: int) -> None:
    """Nothing that the command's user left may lie there for the next run."""
    for path in Path("/dev/shm").iterdir():
        if path.lstat().st_uid == runner_id:
            remove_tree(path) if path.is_dir() else path.unlink()


def _hand_over(folders: tuple[Path, ...], runner_id: int) -> None:
    """Give folders that we filled ourselves to the command's user, and close them to others."""
    for folder in folders:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, runner_id, runner_id, follow_symlinks=False)
        folder.chmod(0o700)


def _require_reachable(paths: tuple[Path, ...]) -> None:
    for path in paths:
        # A link must be reached, and what it leads to.
        for folder in (*path.resolve().parents, *path.absolute().parents):
            if not folder.stat().st_mode & 0o001:
                raise SandboxUnavailableError(
                    f"{folder}: closed to other users, so the command cannot reach {path}; "
                    "open it (chmod o+x), keep runs and data elsewhere, or do not run as root"
                )


def _request(
    command: SandboxCommand,
    home: Path,
    runner_id: int | None,
    limits: SandboxLimits,
    limited_by_user: bool,
) -> ConfinedRequest:
    shown = [path.resolve() for path in command.read_only]
    own = {"HOME": str(home), "TMPDIR": str(home), "PATH": search_path()}
    return ConfinedRequest(
        argv=list(command.argv),
        environment=complete_environment(own, command.environment),
        workdir=str(command.workdir.resolve()),
        runner_id=runner_id,
        # A script finds its files by listing their folder, where only some may be its to read.
        listable=[str(path.parent) for path in shown if path.is_file()],
        readable=[
            *(*READABLE, *NAMES),
            *map(str, interpreter_folders()),
            *map(str, shown),
        ],
        usable=[*USABLE, *map(str, gpu_nodes())],
        writable=[str(command.workdir.resolve()), str(home), "/dev/shm"],
        file_bytes=limits.scratch_bytes,
        num_processes=limits.num_processes if limited_by_user else None,
    )


@contextlib.contextmanager
def _process_between(limits: SandboxLimits) -> Iterator[_Between]:
    """Start it and put it under its limits, which the command will inherit; bury it at the end."""
    argv = [sys.executable, "-I", "-c", CONFINED_START, str(PACKAGE_ROOT)]
    with contextlib.ExitStack() as at_the_end:
        cgroup = Cgroup.create(limits)
        if cgroup is not None:
            at_the_end.callback(cgroup.remove)
        request, status = os.pipe(), os.pipe()
        try:
            ends = (request[0], status[1])
            words = map(str, (*ends, os.getpid()))
            process = start([*argv, *words], {}, pass_fds=ends)
        finally:
            os.close(request[0])
            os.close(status[1])
        at_the_end.callback(_bury, process)
        if cgroup is not None and not cgroup.holds(process.pid):
            cgroup = None
        yield _Between(
            process=process, cgroup=cgroup, request_pipe=request[1], status_pipe=status[0]
        )


def _release(between: _Between, request: ConfinedRequest) -> None:
    """Send the request and wait until it has become the command.

    Raises:
        SandboxUnavailableError: the kernel refused a restriction, or the command is none.
    """
    with os.fdopen(between.request_pipe, "wb") as pipe, contextlib.suppress(BrokenPipeError):
        pipe.write(request.to_json())
    with os.fdopen(between.status_pipe, "rb") as pipe:
        trouble = pipe.read().decode("utf-8", "replace")
    if trouble:
        raise SandboxUnavailableError(
            f"{request.argv[0]} cannot be started under Landlock: {trouble[:300]}"
        )


def _end_tree(process: subprocess.Popen[bytes]) -> None:
    """Let the process between kill the tree; kill it too when it does not answer."""
    process.terminate()
    try:
        process.wait(LAST_WORDS_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _bury(process: subprocess.Popen[bytes]) -> None:
    _end_tree(process)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
