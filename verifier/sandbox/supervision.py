"""Watch one process tree from outside: its output, its time, and what it holds."""

import os
import selectors
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from verifier.sandbox.base import Ending, ExecResult, OnLine
from verifier.sandbox.cgroup import Cgroup
from verifier.sandbox.limits import SandboxLimits

TICK_SECONDS = 0.1
SCRATCH_SCAN_SECONDS = 1.0
MAX_LINE_BYTES = 65_536
MAX_SCRATCH_ENTRIES = 100_000


@dataclass(kw_only=True, slots=True)
class TreeWatch:
    """The gauges of one process tree against its limits."""

    pid: int
    limits: SandboxLimits
    scratch: Path
    cgroup: Cgroup | None
    peak_memory_bytes: int = 0
    next_scratch_scan: float = 0.0

    def limit_passed(self, elapsed_seconds: float) -> tuple[Ending, str] | None:
        """The first limit that the tree has passed, with the figure that shows it."""
        if elapsed_seconds > self.limits.wall_seconds:
            return "wall_limit", f"ran past {self.limits.wall_seconds:g} s"
        return self._kernel_limit() or self._tree_limit() or self._scratch_limit(elapsed_seconds)

    def _kernel_limit(self) -> tuple[Ending, str] | None:
        passed = self.cgroup.limit_passed() if self.cgroup else None
        if passed == "memory_limit":
            return "memory_limit", f"asked for more than {self.limits.memory_bytes:,} bytes"
        if passed == "process_limit":
            return "process_limit", f"asked for more than {self.limits.num_processes} processes"
        return None

    def _tree_limit(self) -> tuple[Ending, str] | None:
        """Sum over the tree; with a cgroup the kernel counts, so one look at the peak is enough."""
        if self.cgroup is not None:
            self.peak_memory_bytes = self.cgroup.peak_memory_bytes()
            return None
        num_processes, memory_bytes = _tree_size(self.pid)
        self.peak_memory_bytes = max(self.peak_memory_bytes, memory_bytes)
        if num_processes > self.limits.num_processes:
            return "process_limit", f"{num_processes} processes"
        if memory_bytes > self.limits.memory_bytes:
            return "memory_limit", f"held {memory_bytes:,} bytes"
        return None

    def _scratch_limit(self, elapsed_seconds: float) -> tuple[Ending, str] | None:
        if elapsed_seconds < self.next_scratch_scan:
            return None
        started = time.monotonic()
        held = scratch_bytes(self.scratch)
        # A slow scan must not eat the machine that it measures: at most a twentieth of the time.
        cost = time.monotonic() - started
        self.next_scratch_scan = elapsed_seconds + max(SCRATCH_SCAN_SECONDS, 20 * cost)
        if held > self.limits.scratch_bytes:
            return "scratch_limit", f"wrote {held:,} bytes or too many files"
        return None


def _tree_size(pid: int) -> tuple[int, int]:
    """Processes and resident bytes below `pid`; processes that vanish meanwhile count nothing."""
    try:
        tree = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return 0, 0
    memory_bytes = 0
    for process in tree:
        try:
            memory_bytes += process.memory_info().rss
        except psutil.Error:
            continue
    return len(tree), memory_bytes


def scratch_bytes(folder: Path) -> int:
    """Bytes on disk below `folder`; too many entries count as infinitely much."""
    total, seen, pending = 0, 0, [folder]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except OSError:
            continue
        for entry in entries:
            seen += 1
            if seen > MAX_SCRATCH_ENTRIES:
                return 2**62
            try:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
                else:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
            except OSError:
                continue
    return total


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


def supervise(
    process: subprocess.Popen[bytes], watch: TreeWatch, on_line: OnLine, started: float
) -> ExecResult:
    """Read the output of `process` until it ends or passes a limit; kill it in the second case.

    Args:
        process: started with its output on a pipe; killing it must kill its tree.
        watch: the gauges, which also name the limits.
        on_line: receives each line with its time.
        started: `time.monotonic()` at launch.
    """
    assert process.stdout is not None
    fd = process.stdout.fileno()
    os.set_blocking(fd, False)
    output_bytes = 0
    passed: tuple[Ending, str] | None = None
    splitter = LineSplitter(lambda line: on_line(time.monotonic() - started, line))
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        next_check = 0.0
        while passed is None:
            chunk = _read(fd) if selector.select(TICK_SECONDS) else None
            if chunk == b"" or (chunk is None and process.poll() is not None):
                break
            if chunk:
                output_bytes += len(chunk)
                splitter.feed(chunk)
            elapsed = time.monotonic() - started
            if output_bytes > watch.limits.output_bytes:
                passed = ("output_limit", f"printed more than {watch.limits.output_bytes:,} bytes")
            elif elapsed >= next_check:
                next_check = elapsed + TICK_SECONDS
                passed = watch.limit_passed(elapsed)
    splitter.finish()
    wall_seconds = time.monotonic() - started
    if passed is None:
        passed = _last_moment(process, watch)
    process.kill()
    code = process.wait()
    return _result(passed, code, wall_seconds, watch, output_bytes)


def _read(fd: int) -> bytes | None:
    try:
        return os.read(fd, 65_536)
    except BlockingIOError:
        return None


def _last_moment(process: subprocess.Popen[bytes], watch: TreeWatch) -> tuple[Ending, str] | None:
    """A tree that closed its output may still be running, or may have died of a kernel limit."""
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return "signalled", "closed its output and went on; killed"
    kernel = watch.cgroup.limit_passed() if watch.cgroup else None
    if kernel == "memory_limit":
        return "memory_limit", f"asked for more than {watch.limits.memory_bytes:,} bytes"
    return None


def _result(
    passed: tuple[Ending, str] | None,
    code: int,
    wall_seconds: float,
    watch: TreeWatch,
    output_bytes: int,
) -> ExecResult:
    # Shells and bubblewrap report a child's death by signal s as 128 + s.
    signal = -code if code < 0 else code - 128 if 128 < code < 160 else None
    if passed is not None:
        ending, detail = passed
    elif signal is not None:
        ending, detail = "signalled", f"killed by signal {signal}"
    else:
        ending, detail = "exited", f"exit code {code}"
    return ExecResult(
        ending=ending,
        exit_code=code if ending == "exited" else None,
        signal=signal if ending == "signalled" else None,
        wall_seconds=wall_seconds,
        peak_memory_bytes=watch.peak_memory_bytes,
        output_bytes=output_bytes,
        detail=detail,
    )
