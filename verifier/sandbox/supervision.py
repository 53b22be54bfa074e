"""Watch one process tree from outside: its output, its time, and what it holds."""

import os
import selectors
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from verifier.endings import Ending
from verifier.errors import SandboxUnavailableError
from verifier.sandbox.base import ExecResult, OnLine
from verifier.sandbox.cgroup import Cgroup
from verifier.sandbox.limits import SandboxLimits
from verifier.sandbox.scratch import scratch_bytes

TICK_SECONDS = 0.1
SCRATCH_SCAN_SECONDS = 1.0
MAX_LINE_BYTES = 65_536

Passed = tuple[Ending, str]
"""A limit that was passed, with the figure that shows it."""


def start(
    argv: Sequence[str],
    environment: dict[str, str],
    workdir: Path | None = None,
    pass_fds: Sequence[int] = (),
    program: str | None = None,
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own: no input, both outputs on one pipe.

    `program` is the file to start where the first word of `argv` is but a name.

    Raises:
        SandboxUnavailableError: the system refuses, or a word holds a NUL byte.
    """
    try:
        return subprocess.Popen(
            argv,
            executable=program,
            cwd=workdir,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    except (OSError, ValueError) as error:
        raise SandboxUnavailableError(
            f"{argv[0]} cannot be started: {error}; look at the command and environment "
            "that `pgolf-verify run --plan-only` prints"
        ) from error


@dataclass(kw_only=True, slots=True)
class TreeWatch:
    """The gauges of one process tree against its limits."""

    pid: int
    limits: SandboxLimits
    scratch: tuple[Path, ...]
    """Folders on the host's disk that the tree may fill; together they have one limit."""
    cgroup: Cgroup | None
    end_tree: Callable[[subprocess.Popen[bytes]], None] = subprocess.Popen.kill
    sampled_peak_bytes: int = 0
    next_scratch_scan: float = 0.0

    @property
    def peak_memory_bytes(self) -> int:
        """The most that the tree ever held, by the kernel's word where it keeps count."""
        return self.cgroup.peak_memory_bytes() if self.cgroup else self.sampled_peak_bytes

    def limit_passed(self, elapsed_seconds: float) -> Passed | None:
        """The first limit that the running tree has passed."""
        if elapsed_seconds > self.limits.wall_seconds:
            return "wall_limit", f"ran past {self.limits.wall_seconds:g} s"
        passed = self._kernel_limit() if self.cgroup else self._sampled_limit()
        if passed is None and elapsed_seconds >= self.next_scratch_scan:
            began = time.monotonic()
            passed = self._scratch_limit()
            # A slow scan must not eat the machine that it measures: a twentieth of the time.
            cost_seconds = time.monotonic() - began
            wait_seconds = max(SCRATCH_SCAN_SECONDS, 20 * cost_seconds)
            self.next_scratch_scan = elapsed_seconds + wait_seconds
        return passed

    def limit_passed_at_last(self) -> Passed | None:
        """What a tree that has just ended may have passed since it was last looked at."""
        return self._kernel_limit() or self._scratch_limit()

    def _kernel_limit(self) -> Passed | None:
        if self.cgroup is None:
            return None
        passed = self.cgroup.limit_passed()
        if passed == "memory_limit":
            return "memory_limit", f"asked for more than {self.limits.memory_bytes:,} bytes"
        if passed == "process_limit":
            return "process_limit", f"asked for more than {self.limits.num_processes} processes"
        return None

    def _sampled_limit(self) -> Passed | None:
        num_processes, memory_bytes = _tree_size(self.pid)
        self.sampled_peak_bytes = max(self.sampled_peak_bytes, memory_bytes)
        if num_processes > self.limits.num_processes:
            return "process_limit", f"{num_processes} processes"
        if memory_bytes > self.limits.memory_bytes:
            return "memory_limit", f"held {memory_bytes:,} bytes"
        return None

    def _scratch_limit(self) -> Passed | None:
        entries = self.limits.scratch_entries
        if sum(scratch_bytes(f, entries) for f in self.scratch) <= self.limits.scratch_bytes:
            return None
        return "scratch_limit", (
            f"wrote more than {self.limits.scratch_bytes:,} bytes, too many files, or hid them"
        )


def _tree_size(pid: int) -> tuple[int, int]:
    """Processes and resident bytes of a tree; processes that vanish meanwhile count nothing."""
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0, 0
    memory_bytes = 0
    for process in tree:
        try:
            memory_bytes += process.memory_info().rss
        except psutil.Error:
            continue
    return len(tree), memory_bytes


class LineSplitter:
    """Bytes in, whole lines out; a line longer than MAX_LINE_BYTES comes in pieces."""

    def __init__(self, on_line: Callable[[bytes], None]) -> None:
        self._on_line = on_line
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._on_line(line)
        while len(self._rest) > MAX_LINE_BYTES:
            self._on_line(self._rest[:MAX_LINE_BYTES])
            self._rest = self._rest[MAX_LINE_BYTES:]

    def finish(self) -> None:
        if self._rest:
            self._on_line(self._rest)
            self._rest = b""


class _Ears:
    """Waits for a process to speak or to end; what it says goes on line by line."""

    def __init__(self, process: subprocess.Popen[bytes], on_line: Callable[[bytes], None]) -> None:
        assert process.stdout is not None
        self.output_bytes = 0
        self._splitter = LineSplitter(on_line)
        self._pipe = process.stdout.fileno()
        self._exit = os.pidfd_open(process.pid)
        os.set_blocking(self._pipe, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pipe, selectors.EVENT_READ)
        self._selector.register(self._exit, selectors.EVENT_READ)

    def listen(self) -> bool:
        """Wait a tick at most; False once the process has ended and all it said was heard."""
        ready = {key.fd for key, _ in self._selector.select(TICK_SECONDS)}
        if self._pipe not in ready:
            return self._exit not in ready
        chunk = os.read(self._pipe, 65_536)
        if chunk:
            self.output_bytes += len(chunk)
            self._splitter.feed(chunk)
        else:  # it closed its output and may well run on
            self._selector.unregister(self._pipe)
        return True

    def close(self) -> None:
        self._selector.close()
        os.close(self._exit)
        self._splitter.finish()


def supervise(
    process: subprocess.Popen[bytes], watch: TreeWatch, on_line: OnLine, started: float
) -> ExecResult:
    """Read the output of `process` until it ends or passes a limit; kill it in the second case.

    Args:
        process: from `start`.
        watch: the gauges, which also name the limits.
        on_line: receives each line with its time.
        started: `time.monotonic()` at launch.
    """
    passed: Passed | None = None
    next_check = 0.0
    ears = _Ears(process, lambda line: on_line(time.monotonic() - started, line))
    try:
        while passed is None and ears.listen():
            elapsed = time.monotonic() - started
            if ears.output_bytes > watch.limits.output_bytes:
                limit_bytes = watch.limits.output_bytes
                passed = ("output_limit", f"printed more than {limit_bytes:,} bytes")
            elif elapsed >= next_check:
                next_check = elapsed + TICK_SECONDS
                passed = watch.limit_passed(elapsed)
    finally:
        ears.close()
    wall_seconds = time.monotonic() - started
    watch.end_tree(process)
    code = process.wait()
    ending = _ending(passed or watch.limit_passed_at_last(), code)
    return ExecResult(
        ending=ending[0],
        exit_code=code if ending[0] == "exited" else None,
        signal=_signal(code) if ending[0] == "signalled" else None,
        wall_seconds=wall_seconds,
        peak_memory_bytes=watch.peak_memory_bytes,
        output_bytes=ears.output_bytes,
        detail=ending[1],
    )


def _ending(passed: Passed | None, code: int) -> Passed:
    if passed is not None:
        return passed
    signal = _signal(code)
    if signal is not None:
        return "signalled", f"killed by signal {signal}"
    return "exited", f"exit code {code}"


def _signal(code: int) -> int | None:
    """The signal of a dead child: shells and bubblewrap report it as 128 + signal."""
    return -code if code < 0 else code - 128 if 128 < code < 160 else None
