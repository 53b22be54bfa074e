"""What is said of a training script that failed: which process, with what, and its last words."""

import re
import signal
from pathlib import Path

NUM_LAST_LINES = 3  # of a failed run's log that go into the message
# How torchrun names the process that failed first, and where its own words begin.
ROOT_CAUSE = re.compile(r"Root Cause.*?rank\s*: (\d+).*?exitcode\s*: (-?\d+)", re.DOTALL)
TORCHRUN_WORDS = re.compile(r"^.*torch/distributed/elastic/", re.MULTILINE)


def describe_failure(text: str, ranks: Path, exit_code: int) -> str:
    """How training ended: which process failed first, with what, and its last words.

    Args:
        text: what the command printed.
        ranks: where the output of all processes but the first is.
        exit_code: of the command.
    """
    words, place = text, "training"
    if cause := ROOT_CAUSE.search(text):
        rank, exit_code = int(cause[1]), int(cause[2])
        place = f"process {rank}"
        words = TORCHRUN_WORDS.split(text, maxsplit=1)[0]
        if rank > 0:
            logs = (ranks.glob(f"*/*/{rank}/{name}.log") for name in ("stdout", "stderr"))
            words = "\n".join(path.read_text(errors="replace") for some in logs for path in some)
    last_lines = [line.strip() for line in words.splitlines() if line.strip()][-NUM_LAST_LINES:]
    said = " | ".join(last_lines) or "it printed nothing"
    return f"{place} ended with {describe_exit(exit_code)}: {said}"


def describe_exit(exit_code: int) -> str:
    """An exit code in words; the system kills with SIGKILL when memory runs out."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    name = signal.Signals(-exit_code).name
    return f"signal {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
