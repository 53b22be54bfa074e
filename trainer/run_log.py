"""What a run says and leaves: the lines of the public scripts, which verifiers already read.

Line formats are those of the public baseline; `phase:` lines are an addition.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from trainer.errors import TrainerError

ARTIFACT_NAME = "final_model.int8.ptz"  # in the working directory
PAUSED_PREFIX = "paused:"  # of the last line where another process shall go on
WRITTEN_PREFIX = "phase:serialise "  # of the line behind which the artifact is whole
DIVERGED_PREFIX = "diverged_rank"  # of the file with a process's state when its loss was lost


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLog:
    """Writes to stdout and to the log file; on any process but the first, nowhere."""

    file: TextIO | None  # None on those others

    def write(self, line: str, *, console: bool = True) -> None:
        """Add a line, at once: a run that is killed has logged all that it printed.

        Args:
            line: without its end.
            console: print it on stdout, too.
        """
        if self.file is None:
            return
        print(line, file=self.file, flush=True)
        if console:
            print(line, flush=True)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what happens within, and say how long it took."""
        started = time.perf_counter()
        yield
        self.write(f"phase:{name} seconds:{time.perf_counter() - started:.3f}")


def open_run_log(run_id: str, *, is_master: bool) -> RunLog:
    """The log of a run: logs/<run_id>.txt in the working directory."""
    if not is_master:
        return RunLog(file=None)
    path = Path("logs") / f"{run_id}.txt"
    path.parent.mkdir(exist_ok=True)
    print(path, flush=True)
    return RunLog(file=path.open("a", encoding="utf-8"))


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Within it, write to the path that it gives: the file has its name once all of it is there.

    Raises:
        TrainerError: the disk refused; nothing of the file stays.
    """
    part = path.with_suffix(".partial")
    try:
        yield part
        part.replace(path)
    except (OSError, RuntimeError) as error:  # PyTorch tells a full disk as the latter
        part.unlink(missing_ok=True)
        why = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise TrainerError(f"{path}: cannot be written ({why}): make room on its disk") from None


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far training has come."""

    step: int
    num_steps: int  # that the recipe allows; the time limit may come first
    train_seconds: float  # validations between steps left out

    def __str__(self) -> str:
        train_ms = 1000.0 * self.train_seconds
        return f"train_time:{train_ms:.0f}ms step_avg:{train_ms / max(self.step, 1):.2f}ms"

    def train_line(self, loss_nats: float) -> str:
        """What is logged of a step: its training loss, in nats a token, and the time so far."""
        return f"step:{self.step}/{self.num_steps} train_loss:{loss_nats:.4f} {self}"

    def validation_line(self, loss_nats: float, bits_per_byte: float) -> str:
        """What is logged of a validation between steps; loss in nats a token."""
        return (
            f"step:{self.step}/{self.num_steps} val_loss:{loss_nats:.4f} "
            f"val_bpb:{bits_per_byte:.4f} {self}"
        )

    def stopping_line(self) -> str:
        """What is logged where the time limit ends training before its last step."""
        return (
            f"stopping_early: wallclock_cap train_time:{1000.0 * self.train_seconds:.0f}ms "
            f"step:{self.step}/{self.num_steps}"
        )
