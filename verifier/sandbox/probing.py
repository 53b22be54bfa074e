"""Prove guarantees by trying: what must fail is tried inside, and what must work too."""

import contextlib
import json
import os
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from verifier.errors import SandboxUnavailableError
from verifier.sandbox.base import Enforcement, Sandbox, SandboxCommand
from verifier.sandbox.cgroup import Cgroup
from verifier.sandbox.limits import SandboxLimits
from verifier.sandbox.scratch import remove_tree

PROBE_SECONDS = 30
PROBE_LIMITS = SandboxLimits(
    wall_seconds=PROBE_SECONDS,
    memory_bytes=2**30,
    num_processes=64,
    output_bytes=2**20,
    scratch_bytes=2**26,
)
PROBE_SCRIPT = Path(__file__).with_name("probe_inside.py")


def probe_guarantees(sandbox: Sandbox, scratch: Path) -> tuple[Enforcement, ...]:
    """Run `probe_inside.py` in `sandbox` and grade what it reports against what we planted.

    Raises:
        SandboxUnavailableError: the probe did not run or said nothing readable; the sandbox
            then cannot be trusted with anything.
    """
    token = secrets.token_hex(16)
    with (
        tempfile.TemporaryDirectory(prefix="pgolf-secret-") as folder,
        _empty_folder(scratch / "probe") as workdir,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        secret = Path(folder) / "secret"
        secret.write_text(token)
        os.environ["PGOLF_PROBE_SECRET"] = token
        try:
            answers = _answers(sandbox, workdir, secret, listener.getsockname()[1])
        finally:
            del os.environ["PGOLF_PROBE_SECRET"]
    return _graded(answers, _survivors(answers["daemon_marker"]))


@contextlib.contextmanager
def _empty_folder(path: Path) -> Iterator[Path]:
    remove_tree(path)  # left by a harness that was killed
    path.mkdir()
    try:
        yield path
    finally:
        remove_tree(path)


def _answers(sandbox: Sandbox, workdir: Path, secret: Path, host_port: int) -> dict[str, Any]:
    (workdir / "probe.py").write_text(PROBE_SCRIPT.read_text())
    lines: list[bytes] = []
    command = SandboxCommand(
        argv=(sys.executable, "-I", "probe.py", str(secret), str(host_port), str(os.getpid())),
        workdir=workdir,
    )
    result = sandbox.execute(command, PROBE_LIMITS, lambda _, line: lines.append(line))
    try:
        answers = json.loads(lines[-1])
        answers["daemon_marker"], answers["network"], answers["secrets"]  # noqa: B018
    except (IndexError, ValueError, KeyError, TypeError) as error:
        said = b" ".join(lines[-3:]).decode("utf-8", "replace")[:300]
        raise SandboxUnavailableError(
            f"the {sandbox.name} sandbox could not run its own probe ({result.detail}): {said}"
        ) from error
    return dict(answers)


def _survivors(marker: str) -> list[int]:
    """Processes of the probe that outlived their sandbox, given a moment to die."""
    for _ in range(20):
        found = [
            p.pid for p in psutil.process_iter(["cmdline"]) if marker in (p.info["cmdline"] or ())
        ]
        if not found:
            return []
        time.sleep(0.05)
    return found


def _graded(answers: dict[str, Any], survivors: list[int]) -> tuple[Enforcement, ...]:
    def proved(name: str, breaches: list[str], detail: str) -> Enforcement:
        if breaches:
            return Enforcement(name=name, grade="absent", detail="; ".join(breaches))
        return Enforcement(name=name, grade="proved", detail=detail)

    outlived = [f"process {pid} outlived the sandbox" for pid in survivors]
    return (
        proved("network", answers["network"], "outside addresses unreachable, loopback works"),
        proved("file_writes", answers["file_writes"], "writes outside the scratch folder failed"),
        proved("secrets", answers["secrets"], "host files, environment and processes invisible"),
        proved("process_leaks", outlived, "a detached child died with the sandbox"),
        _memory_grade(),
        Enforcement(
            name="clock_outside",
            grade="configured",
            detail="all times are taken by the harness's monotonic clock",
        ),
    )


def _memory_grade() -> Enforcement:
    group = Cgroup.create(PROBE_LIMITS)
    if group is None:
        return Enforcement(
            name="memory", grade="observed", detail="sampled ten times a second; no cgroup here"
        )
    group.remove()
    return Enforcement(name="memory", grade="configured", detail="cgroup limit on the whole tree")
