"""The default sandbox: Linux namespaces through bubblewrap, cgroup limits where the host allows.

Covered: no network but loopback; the system read-only and only the named files visible; clean
environment; private /tmp, /dev, processes and hostname; no capabilities; the tree dies with us.
Not covered: system-call filtering (the kernel's attack surface stays open), GPU memory.
"""

import contextlib
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from verifier.errors import SandboxUnavailableError
from verifier.sandbox.base import Enforcement, ExecResult, OnLine, Sandbox, SandboxCommand
from verifier.sandbox.cgroup import Cgroup
from verifier.sandbox.limits import SandboxLimits
from verifier.sandbox.probing import probe_guarantees
from verifier.sandbox.supervision import TreeWatch, start, supervise

WORKDIR = "/pgolf/work"
"""Below a name of our own: a mount here must not hide an interpreter that lives there."""
USER_ID = 65534
"""Inside, the submission is nobody, whoever started us."""
DEATH_SECONDS = 30
"""How long the kernel may take to end a killed tree that holds much memory."""
SYSTEM_FILES = (
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/ssl/certs",
    "/etc/localtime",
)
STUBS = {
    "/etc/passwd": f"runner:x:{USER_ID}:{USER_ID}::/home/runner:/bin/sh\n",
    "/etc/group": f"runner:x:{USER_ID}:\n",
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "/etc/nsswitch.conf": "hosts: files\n",
}
BASE_ENVIRONMENT = {
    "HOME": "/home/runner",
    "USER": "runner",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONUNBUFFERED": "1",
    "PYTHONNOUSERSITE": "1",
    # torchrun and NCCL look for a network interface; loopback is the only one.
    "GLOO_SOCKET_IFNAME": "lo",
    "NCCL_SOCKET_IFNAME": "lo",
    "NCCL_IB_DISABLE": "1",
    "HF_HUB_OFFLINE": "1",
}


class Bubblewrap(Sandbox):
    """Runs a command under `bwrap`.

    Raises:
        SandboxUnavailableError: bwrap is not installed, or may not make namespaces here.
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

    def execute(
        self, command: SandboxCommand, limits: SandboxLimits, on_line: OnLine
    ) -> ExecResult:
        """See Sandbox.execute."""
        with tempfile.TemporaryDirectory(prefix="pgolf-etc-") as stubs:
            arguments = bwrap_arguments(command, _write_stubs(Path(stubs)), limits)
            with _launched(self._program, arguments, limits) as (process, cgroup, started):
                watch = TreeWatch(
                    pid=process.pid, limits=limits, scratch=command.workdir, cgroup=cgroup
                )
                return supervise(process, watch, on_line, started)

    def guarantees(self, scratch: Path) -> tuple[Enforcement, ...]:
        """See Sandbox.guarantees."""
        return probe_guarantees(self, scratch)


def bwrap_arguments(
    command: SandboxCommand, stubs: dict[Path, str], limits: SandboxLimits
) -> list[str]:
    """The whole bwrap command line behind the program's name; order matters to bwrap."""
    arguments = [
        *("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"),
        *("--unshare-cgroup-try", "--die-with-parent", "--new-session"),
        # A namespace of its own would hand the submission fresh capabilities.
        "--disable-userns",
        # Started as root, bwrap would keep every capability inside.
        *("--cap-drop", "ALL", "--uid", str(USER_ID), "--gid", str(USER_ID)),
        # torchrun hangs in a network namespace unless its hostname resolves.
        *("--hostname", "localhost", "--clearenv"),
        *_system_mounts(),
        *("--proc", "/proc", "--dev", "/dev"),
        *("--size", str(limits.memory_bytes), "--tmpfs", "/dev/shm"),
        *_gpu_mounts(),
        *("--size", str(limits.scratch_bytes), "--tmpfs", "/tmp"),
        *("--size", str(limits.scratch_bytes), "--tmpfs", "/home/runner"),
        # After the private folders: an interpreter may be installed below one of them.
        *_python_mounts(),
    ]
    for host, inside in [*stubs.items(), *command.read_only.items()]:
        arguments += ["--ro-bind", str(host), inside]
    arguments += ["--bind", str(command.workdir), WORKDIR, "--chdir", WORKDIR]
    environment = BASE_ENVIRONMENT | {"PATH": _search_path()} | command.environment
    for name, value in environment.items():
        arguments += ["--setenv", name, value]
    return [*arguments, "--", *command.argv]


def _system_mounts() -> list[str]:
    arguments = ["--ro-bind", "/usr", "/usr", "--ro-bind", "/sys", "/sys"]
    for name in ("/bin", "/sbin", "/lib", "/lib64", "/lib32"):
        path = Path(name)
        if path.is_symlink():
            arguments += ["--symlink", str(path.readlink()), name]
        elif path.is_dir():
            arguments += ["--ro-bind", name, name]
    for name in SYSTEM_FILES:
        arguments += ["--ro-bind-try", name, name]
    return arguments


def _python_mounts() -> list[str]:
    """The interpreter's own folders, needed inside when they lie outside /usr."""
    arguments: list[str] = []
    named = [Path(sys.prefix), Path(sys.base_prefix)]
    for prefix in dict.fromkeys([*named, *(path.resolve() for path in named)]):
        if not prefix.is_relative_to("/usr"):
            arguments += ["--ro-bind", str(prefix), str(prefix)]
    return arguments


def _search_path() -> str:
    return os.pathsep.join(
        [str(Path(sys.prefix) / "bin"), "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]
    )


def _gpu_mounts() -> list[str]:
    """NVIDIA device nodes, which must come after --dev."""
    arguments: list[str] = []
    for node in sorted(Path("/dev").glob("nvidia*")):
        arguments += ["--dev-bind-try", str(node), str(node)]
    return arguments


def _write_stubs(folder: Path) -> dict[Path, str]:
    mounts = {}
    for inside, text in STUBS.items():
        stub = folder / Path(inside).name
        stub.write_text(text)
        mounts[stub] = inside
    return mounts


@contextlib.contextmanager
def _launched(
    program: str, arguments: list[str], limits: SandboxLimits
) -> Iterator[tuple[subprocess.Popen[bytes], Cgroup | None, float]]:
    """Start bwrap, hold its child until every limit is set, release it; kill it at the end.

    bwrap writes the child's pid to one pipe and waits for a byte on another, so that no line of
    the submission runs before it is in its cgroup and under its rlimits.
    """
    info_read, info_write = os.pipe()
    gate_read, gate_write = os.pipe()
    gated = [program, "--info-fd", str(info_write), "--block-fd", str(gate_read), *arguments]
    cgroup = None
    try:
        process = start(gated, {}, pass_fds=(info_write, gate_read))
    except SandboxUnavailableError:
        os.close(info_read)
        os.close(gate_write)
        raise
    finally:
        os.close(info_write)
        os.close(gate_read)
    try:
        with _held_child(_child_pid(info_read, process)) as child:
            _set_rlimits(child, limits)
            cgroup = Cgroup.create(limits, (process.pid, child))
            started = time.monotonic()
            os.write(gate_write, b"go")
            yield process, cgroup, started
    finally:
        os.close(gate_write)
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        if cgroup is not None:
            cgroup.remove()


@contextlib.contextmanager
def _held_child(pid: int) -> Iterator[int]:
    """On leaving, `pid`, the namespace's first process, is dead, and the kernel with it all others.

    The handle is taken while the child waits at the gate, so the number cannot be another's.
    """
    handle = os.pidfd_open(pid)
    try:
        yield pid
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


def _child_pid(info_fd: int, process: subprocess.Popen[bytes]) -> int:
    with os.fdopen(info_fd, "rb") as info:
        text = info.read()
    try:
        return int(json.loads(text)["child-pid"])
    except (ValueError, KeyError) as error:
        process.kill()
        output = process.stdout.read() if process.stdout else b""
        reason = output.decode("utf-8", "replace").strip() or "no reason given"
        raise SandboxUnavailableError(
            f"bubblewrap could not make a sandbox here: {reason[:300]}; "
            "user namespaces may be switched off (see `pgolf-verify doctor`)"
        ) from error


def _set_rlimits(pid: int, limits: SandboxLimits) -> None:
    """No core dumps, no single file over the scratch budget. Never RLIMIT_AS: CUDA maps much."""
    resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (limits.scratch_bytes, limits.scratch_bytes))
