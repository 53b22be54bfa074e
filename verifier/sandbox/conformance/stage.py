"""Where checks from outside play: short programs under one sandbox, seen as the harness sees."""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from verifier.endings import Ending
from verifier.sandbox.base import ExecResult, Sandbox, SandboxCommand
from verifier.sandbox.limits import SandboxLimits
from verifier.sandbox.scratch import remove_tree

STAGE_LIMITS = SandboxLimits(
    wall_seconds=10,
    memory_bytes=2**26,
    num_processes=24,
    output_bytes=2**20,
    scratch_bytes=2**23,
    scratch_entries=2_000,
)
DEATH_SECONDS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Played:
    """How a program ended, and the lines that it printed."""

    result: ExecResult
    lines: list[bytes]

    def unless(self, *endings: Ending) -> str | None:
        """What happened, unless it ended in one of these ways."""
        if self.result.ending in endings:
            return None
        return f"it ended otherwise ({self.result.detail}): {self.said()}"

    def said(self) -> str:
        return b" ".join(self.lines[-2:]).decode("utf-8", "replace")[-200:]


class Stage:
    """One sandbox and an empty folder to run in, fresh for every program."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder

    def play(
        self,
        *code: str,
        environment: dict[str, str] | None = None,
        marker: str = "",
        **limits: float,
    ) -> Played:
        """Run Python statements, one a line, under STAGE_LIMITS with these changed.

        Raises:
            SandboxUnavailableError: the sandbox itself could not start.
        """
        workdir = self.folder / "work"
        remove_tree(workdir)
        workdir.mkdir(parents=True)
        command = SandboxCommand(
            argv=(sys.executable, "-I", "-S", "-c", "\n".join(code), marker),
            workdir=workdir,
            environment=environment or {},
        )
        lines: list[bytes] = []
        try:
            result = self.sandbox.execute(
                command,
                replace(STAGE_LIMITS, **limits),  # type: ignore[arg-type]
                lambda _, line: lines.append(line),
            )
        finally:
            remove_tree(workdir)
        return Played(result=result, lines=lines)


def survivors(marker: str, seconds: float = DEATH_SECONDS) -> str | None:
    """Processes with this word on their command line that do not die within some seconds."""
    deadline = time.monotonic() + seconds
    while found := with_marker(marker):
        if time.monotonic() > deadline:
            return f"process {found[0].pid} lives on"
        time.sleep(0.01)
    return None


def kill_marked(marker: str) -> None:
    """End what a sandbox let live."""
    for process in with_marker(marker):
        process.kill()


def with_marker(marker: str) -> list[psutil.Process]:
    """Python processes, seen from outside, with this word on their command line."""
    processes = psutil.process_iter(["cmdline"])
    words = [(process, process.info["cmdline"] or [""]) for process in processes]
    return [p for p, line in words if marker in line and line[0] == sys.executable]
