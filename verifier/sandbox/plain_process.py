"""No isolation at all: for code that the user trusts, on hosts where no sandbox can start.

Covered: the clock outside, limits watched from outside, the death of the process group.
Not covered: everything else; whatever the code may do, it can do as you.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from verifier.sandbox.base import Enforcement, ExecResult, OnLine, Sandbox, SandboxCommand
from verifier.sandbox.limits import SandboxLimits
from verifier.sandbox.probing import probe_guarantees
from verifier.sandbox.supervision import TreeWatch, start, supervise
from verifier.sandbox.visible_system import machine_settings


class PlainProcess(Sandbox):
    """Runs a command as an ordinary child process."""

    name = "plain"
    sees_host_paths = True

    def execute(
        self, command: SandboxCommand, limits: SandboxLimits, on_line: OnLine
    ) -> ExecResult:
        """See Sandbox.execute; `read_only` is visible at its host path only."""
        inherited = {k: os.environ[k] for k in ("HOME", "LD_LIBRARY_PATH") if k in os.environ}
        search_path = f"{Path(sys.prefix) / 'bin'}:{os.environ.get('PATH', os.defpath)}"
        started = time.monotonic()
        own = {"PATH": search_path, "PYTHONUNBUFFERED": "1"}
        environment = inherited | own | command.environment | machine_settings()
        process = start(command.argv, environment, command.workdir)
        watch = TreeWatch(pid=process.pid, limits=limits, scratch=(command.workdir,), cgroup=None)
        try:
            return supervise(process, watch, on_line, started)
        finally:
            _kill_group(process)

    def guarantees(self, scratch: Path) -> tuple[Enforcement, ...]:
        """See Sandbox.guarantees."""
        return probe_guarantees(self, scratch)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
