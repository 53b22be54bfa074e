"""The sandbox contract: run one command, let nothing out, say how it ended.

Covered by the contract: no network but loopback, a read-only system, only named files visible, a
clean environment, private /tmp and process ids, limits on time, memory, processes, output and
disk, and the death of the whole process tree at the end.

Not covered: side channels (cache timing, GPU memory left by others), kernel faults, and a clock
that the submission slows for itself: times are therefore taken outside.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from verifier.endings import Ending, Grade
from verifier.sandbox.limits import SandboxLimits

OnLine = Callable[[float, bytes], None]
"""Called with the seconds since launch and one line of output, without its newline."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxCommand:
    """One command with all that it may see."""

    argv: tuple[str, ...]
    workdir: Path
    """Host folder, writable inside as the current directory; nothing else on disk is writable."""
    environment: dict[str, str] = field(default_factory=dict)
    read_only: dict[Path, str] = field(default_factory=dict)
    """Host path → path inside."""
    hidden: tuple[Path, ...] = ()
    """Host folders to be kept out of sight where they lie in what every command sees, such as the
    interpreter's. Landlock cannot: it only adds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecResult:
    """How a command ended, seen from outside. A program's failure is a result, no exception."""

    ending: Ending
    exit_code: int | None
    signal: int | None
    wall_seconds: float
    peak_memory_bytes: int
    output_bytes: int
    detail: str

    @property
    def ended_well(self) -> bool:
        return self.ending == "exited" and self.exit_code == 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Enforcement:
    """One guarantee and how strongly it is known to hold on this host."""

    name: str
    grade: Grade
    detail: str


class Sandbox(ABC):
    """A way to run untrusted code."""

    name: str
    sees_host_paths: bool
    """Whether the command finds read-only folders at their host path instead of the one asked."""

    @abstractmethod
    def execute(
        self, command: SandboxCommand, limits: SandboxLimits, on_line: OnLine
    ) -> ExecResult:
        """Run to the end or to the first limit; kill the whole tree either way.

        Raises:
            SandboxUnavailableError: the sandbox itself could not start.
            KeyboardInterrupt: after the tree was killed.
        """

    @abstractmethod
    def guarantees(self, scratch: Path) -> tuple[Enforcement, ...]:
        """Try from inside what must fail and what must work, and grade each guarantee.

        Raises:
            SandboxUnavailableError: the sandbox itself could not start.
        """
