"""The default sandbox: Linux namespaces through bubblewrap, cgroup limits where the host allows.

Covered: no network but loopback; the system read-only and only the named files visible; clean
environment; private /tmp, /dev, processes and hostname; no capabilities; a system-call filter;
the tree dies with us.
Not covered: GPU memory that others left; bytes of files that were deleted while open. Where no
cgroup can be made, memory is sampled and what no process maps (memfd) is not seen. bwrap ties its
processes to its parent's life only as they start; what a harness killed in that instant leaves, the
next one ends.
"""

import contextlib
import json
import os
import re
import resource
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from verifier.errors import SandboxUnavailableError
from verifier.sandbox.base import Enforcement, ExecResult, OnLine, Sandbox, SandboxCommand
from verifier.sandbox.bubblewrap_arguments import STUBS, bwrap_arguments
from verifier.sandbox.cgroup import Cgroup
from verifier.sandbox.leftovers import end_named, end_orphans, owned_name
from verifier.sandbox.limits import SandboxLimits
from verifier.sandbox.probing import probe_guarantees
from verifier.sandbox.seccomp import filter_program
from verifier.sandbox.supervision import TreeWatch, start, supervise

KIND = "sandbox"
"""Of the name that the command lines of our sandboxes begin with."""
DEATH_SECONDS = 30
"""How long the kernel may take to end a killed tree that holds much memory."""
COUNTED_BY_NAMESPACE = (5, 14)
"""From this kernel on, RLIMIT_NPROC counts the processes of our namespace, not all of the user."""


class Bubblewrap(Sandbox):
    """Runs a command under `bwrap`.

    Raises:
        SandboxUnavailableError: bwrap is not installed.
    """

    name = "bubblewrap"
    sees_host_paths = False

    def __init__(self) -> None:
        program = shutil.which("bwrap")
        if program is None:
            raise SandboxUnavailableError(
                "bubblewrap is missing, so nothing untrusted is run: "
                "install it (apt-get install bubblewrap) and try again"
            )
        self._program = program
        end_orphans(KIND)

    def execute(
        self, command: SandboxCommand, limits: SandboxLimits, on_line: OnLine
    ) -> ExecResult:
        """See Sandbox.execute."""
        with _launched(self._program, command, limits) as (process, cgroup, started):
            watch = TreeWatch(
                pid=process.pid, limits=limits, scratch=(command.workdir,), cgroup=cgroup
            )
            return supervise(process, watch, on_line, started)

    def guarantees(self, scratch: Path) -> tuple[Enforcement, ...]:
        """See Sandbox.guarantees."""
        return probe_guarantees(self, scratch)


@contextlib.contextmanager
def _launched(
    program: str, command: SandboxCommand, limits: SandboxLimits
) -> Iterator[tuple[subprocess.Popen[bytes], Cgroup | None, float]]:
    """Start bwrap, hold its child until every limit is set, release it; kill it at the end.

    bwrap writes the child's pid to one pipe and waits for a byte on another, so that no line of
    the submission runs before it is in its cgroup and under its rlimits, nor if we die before that:
    the child holds both ends of the second pipe, and waits for ever rather than read its end.
    """
    with contextlib.ExitStack() as at_the_end:
        cgroup = Cgroup.create(limits)
        if cgroup is not None:
            at_the_end.callback(cgroup.remove)
        info, gate = os.pipe(), _gate()
        gate_write = at_the_end.enter_context(os.fdopen(gate[1], "wb", buffering=0))
        info_read = at_the_end.enter_context(os.fdopen(info[0], "rb"))
        name = owned_name(KIND)
        process = _start(name, program, command, limits, (info[1], gate[0]))
        at_the_end.callback(_bury, process)
        with contextlib.ExitStack() as unless_held:
            unless_held.callback(end_named, name)
            child = _child_pid(info_read.read(), process, name)
            at_the_end.enter_context(_held_child(child))
            unless_held.pop_all()
        _set_rlimits(child, limits)
        if cgroup is not None and not cgroup.holds(process.pid, child):
            cgroup = None
        started = time.monotonic()
        gate_write.write(b"go")
        yield process, cgroup, started


def _gate() -> tuple[int, int]:
    """A pipe whose first end can also write, so that it has a writer as long as a reader."""
    read, write = os.pipe()
    both = os.open(f"/proc/self/fd/{read}", os.O_RDWR | os.O_CLOEXEC)
    os.close(read)
    return both, write


def _start(
    name: str,
    program: str,
    command: SandboxCommand,
    limits: SandboxLimits,
    handshake: tuple[int, int],
) -> subprocess.Popen[bytes]:
    """Start bwrap with everything it reads through descriptors, and close our ends of those.

    Args:
        name: what its command line is to begin with.
        program: the file.
        command: what it runs.
        limits: of that.
        handshake: the ends of the two pipes that are its.
    """
    info, gate = handshake
    stubs = {inside: _file_in_memory(text.encode()) for inside, text in STUBS.items()}
    passed = [info, gate, *stubs.values()]
    options = ["--info-fd", str(info), "--block-fd", str(gate)]
    if (seccomp := filter_program()) is not None:
        passed.append(_file_in_memory(seccomp))
        options += ["--seccomp", str(passed[-1])]
    arguments = bwrap_arguments(command, limits, stubs)
    try:
        return start([name, *options, *arguments], {}, pass_fds=passed, program=program)
    finally:
        for descriptor in passed:
            os.close(descriptor)


def _file_in_memory(content: bytes) -> int:
    descriptor = os.memfd_create("pgolf")
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _bury(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


@contextlib.contextmanager
def _held_child(pid: int) -> Iterator[None]:
    """On leaving, `pid`, the namespace's first process, is dead, and the kernel with it all others.

    The handle is taken while the child waits at the gate, so the number cannot be another's.
    """
    handle = os.pidfd_open(pid)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        died, _, _ = select.select([handle], [], [], DEATH_SECONDS)
        os.close(handle)
        if not died:
            raise SandboxUnavailableError(
                f"process {pid} of a sandbox survived SIGKILL for {DEATH_SECONDS} s: "
                "look at the machine before running anything else"
            )


def _child_pid(information: bytes, process: subprocess.Popen[bytes], name: str) -> int:
    try:
        return int(json.loads(information)["child-pid"])
    except (ValueError, KeyError) as error:
        end_named(name)  # a child that was not told of yet holds the output open
        output = process.stdout.read() if process.stdout else b""
        reason = output.decode("utf-8", "replace").strip() or "no reason given"
        raise SandboxUnavailableError(
            f"bubblewrap could not make a sandbox here: {reason[:300]}; user namespaces may be "
            "switched off (docs/sandbox.md names the remedies, and `--sandbox landlock`, "
            "which holds less)"
        ) from error


def _set_rlimits(pid: int, limits: SandboxLimits) -> None:
    """No core dumps, no single file over the scratch budget. Never RLIMIT_AS: CUDA maps much."""
    resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (limits.scratch_bytes, limits.scratch_bytes))
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if release and (int(release[1]), int(release[2])) >= COUNTED_BY_NAMESPACE:
        resource.prlimit(pid, resource.RLIMIT_NPROC, (limits.num_processes, limits.num_processes))
