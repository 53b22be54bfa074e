"""Hard limits on memory and process count for a whole tree, where a cgroup can be made.

A harness that is killed leaves its folder behind, empty: the next one removes it.
"""

from dataclasses import dataclass
from pathlib import Path

from verifier.sandbox.leftovers import owned_name, sweep
from verifier.sandbox.limits import SandboxLimits

CGROUP_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layout:
    """File names of one cgroup version; `memory` and `pids` are folders that we made."""

    memory: Path
    pids: Path
    memory_limit: str
    swap_limit: str
    """Set where the kernel accounts for swap; v2 counts swap alone, v1 memory with swap."""
    memory_peak: str
    oom_events: str


class Cgroup:
    """A cgroup of our own; `create` gives None where the host allows none."""

    def __init__(self, layout: _Layout) -> None:
        self._layout = layout
        self._oom_events = layout.memory / layout.oom_events
        self._pids_events = layout.pids / "pids.events"

    @staticmethod
    def create(limits: SandboxLimits) -> "Cgroup | None":
        """A group with its limits and no process yet; None where the host lets us make none."""
        layout = _make_v2() or _make_v1()
        if layout is None:
            return None
        group = Cgroup(layout)
        try:
            (layout.memory / layout.memory_limit).write_text(str(limits.memory_bytes))
            swap = layout.memory / layout.swap_limit
            if swap.exists():
                swap.write_text("0" if "max" in swap.name else str(limits.memory_bytes))
            (layout.pids / "pids.max").write_text(str(limits.num_processes))
        except OSError:
            group.remove()
            return None
        return group

    def holds(self, *pids: int) -> bool:
        """Put processes, and so all their later children, under the limits.

        Returns:
            False where the host refuses; the caller must then watch from outside.
        """
        try:
            for pid in pids:
                for folder in {self._layout.memory, self._layout.pids}:
                    (folder / "cgroup.procs").write_text(str(pid))
        except OSError:
            return False
        return True

    def peak_memory_bytes(self) -> int:
        """The most memory ever held, page cache included; 0 where the kernel keeps no peak."""
        try:
            return int((self._layout.memory / self._layout.memory_peak).read_text())
        except (OSError, ValueError):
            return 0

    def limit_passed(self) -> str | None:
        """`memory_limit` or `process_limit` once the kernel has refused something, else None."""
        if _counter(self._oom_events, b"oom_kill"):
            return "memory_limit"
        if _counter(self._pids_events, b"max"):
            return "process_limit"
        return None

    def remove(self) -> None:
        """Remove the folders; processes must be dead. A folder still busy is left to the host."""
        for folder in {self._layout.memory, self._layout.pids}:
            try:
                folder.rmdir()
            except OSError:
                continue


def _counter(path: Path, key: bytes) -> int:
    try:
        for line in path.read_bytes().splitlines():
            name, _, value = line.partition(b" ")
            if name == key:
                return int(value)
    except (OSError, ValueError):
        return 0
    return 0


def _own_cgroups() -> dict[str, str]:
    """Controller list → our path in that hierarchy; the v2 hierarchy has an empty list."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return {}
    return {controllers: path for _, controllers, path in (line.split(":", 2) for line in lines)}


def _make_folder(parent: Path, *needed_files: str) -> Path | None:
    sweep(parent, "cgroup", Path.rmdir)
    folder = parent / owned_name("cgroup")
    try:
        folder.mkdir()
    except OSError:
        return None
    if all((folder / name).exists() for name in needed_files):
        return folder
    folder.rmdir()
    return None


def _make_v2() -> _Layout | None:
    """Under our own v2 cgroup or the root, whichever hands the memory controller to children."""
    own = _own_cgroups().get("", "/").lstrip("/")
    for parent in (CGROUP_ROOT / own, CGROUP_ROOT):
        folder = _make_folder(parent, "memory.max", "pids.max")
        if folder is not None:
            return _Layout(
                memory=folder,
                pids=folder,
                memory_limit="memory.max",
                swap_limit="memory.swap.max",
                memory_peak="memory.peak",
                oom_events="memory.events",
            )
    return None


def _make_v1() -> _Layout | None:
    own = _own_cgroups()
    memory = _make_folder(
        CGROUP_ROOT / "memory" / own.get("memory", "/").lstrip("/"), "memory.limit_in_bytes"
    )
    pids = _make_folder(CGROUP_ROOT / "pids" / own.get("pids", "/").lstrip("/"), "pids.max")
    if memory is None or pids is None:
        for folder in (memory, pids):
            if folder is not None:
                folder.rmdir()
        return None
    return _Layout(
        memory=memory,
        pids=pids,
        memory_limit="memory.limit_in_bytes",
        swap_limit="memory.memsw.limit_in_bytes",
        memory_peak="memory.max_usage_in_bytes",
        oom_events="memory.oom_control",
    )
