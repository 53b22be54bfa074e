"""Starts the training script, one process (or one torchrun) a seed, and watches what it says."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import LaunchError
from trainer.public_names import public_names

PARTIAL_SUFFIX = ".partial"  # of a log whose run has not ended well
NUM_LAST_LINES = 3  # of a failed run's log that go into the message
STOP_SECONDS = 10.0  # between asking the processes to stop and killing them


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """What the seeds of a submission have in common."""

    script: Path
    log_folder: Path
    data_path: Path  # folder with the shards
    tokenizer_path: Path
    num_gpus: int | None  # None: the machine's one GPU or its CPU, without torchrun


def seed_log(folder: Path, seed: int) -> Path:
    """Where a finished seed's log lies."""
    return folder / f"train_seed{seed}.log"


def run_seed(launch: Launch, seed: int, watch: Callable[[str], None]) -> None:
    """Run the script in a scratch folder that holds nothing else; keep only its output.

    Args:
        launch: what to run.
        seed: the seed.
        watch: is given every line that the script prints.

    Raises:
        LaunchError: the script failed; its output so far stays beside the logs, `.partial`.
    """
    log = seed_log(launch.log_folder, seed)
    partial = log.with_name(log.name + PARTIAL_SUFFIX)
    last_lines: deque[str] = deque(maxlen=NUM_LAST_LINES)
    with tempfile.TemporaryDirectory(prefix="pgolf-train-") as scratch:
        shutil.copy(launch.script, Path(scratch, "train_gpt.py"))
        process = start_training(launch, seed, Path(scratch))
        try:
            with partial.open("w", encoding="utf-8") as file:
                for line in process.stdout or ():
                    file.write(line)
                    file.flush()
                    last_lines.append(line.strip())
                    watch(line.rstrip("\n"))
            exit_code = process.wait()
        finally:
            stop_training(process)
    if exit_code != 0:
        raise LaunchError(
            f"seed {seed}: training ended with exit code {exit_code}: "
            f"{' | '.join(last_lines) or 'it printed nothing'}; its output is in {partial}"
        )
    partial.replace(log)


def start_training(launch: Launch, seed: int, folder: Path) -> subprocess.Popen[str]:
    """Start the script in a session of its own, so that all its processes can be stopped.

    Raises:
        LaunchError: the system refuses.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in public_names()}
    settings = {
        "SEED": str(seed),
        "RUN_ID": f"seed_{seed}",
        "DATA_PATH": str(launch.data_path.resolve()),
        "TOKENIZER_PATH": str(launch.tokenizer_path.resolve()),
    }
    command = [sys.executable, "train_gpt.py"]
    if launch.num_gpus is not None:
        torchrun = ["-m", "torch.distributed.run", "--standalone"]
        command[1:1] = [*torchrun, f"--nproc_per_node={launch.num_gpus}"]
    try:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=inherited | settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise LaunchError(f"seed {seed}: cannot start {command[0]}: {error}") from None


def stop_training(process: subprocess.Popen[str]) -> None:
    """End whatever still runs of a training process and its children."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=STOP_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    except ProcessLookupError:
        pass  # all have ended by themselves
