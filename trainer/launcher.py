"""Starts the training script, one process (or one torchrun) a seed, and watches what it says."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import LaunchError
from trainer.public_names import public_names
from trainer.run_log import DIVERGED_PREFIX

PARTIAL_SUFFIX = ".partial"  # of a log whose run has not ended well
NUM_LAST_LINES = 3  # of a failed run's log that go into the message
STOP_SECONDS = 10.0  # between asking the processes to stop and killing them
# How torchrun names the process that failed first, and where its own words begin.
ROOT_CAUSE = re.compile(r"Root Cause.*?rank\s*: (\d+).*?exitcode\s*: (-?\d+)", re.DOTALL)
TORCHRUN_WORDS = re.compile(r"^.*torch/distributed/elastic/", re.MULTILINE)


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


def checkpoint_folder(launch: Launch, seed: int) -> Path:
    """Where a seed's run keeps checkpoints, if its recipe wants any, until it has finished."""
    return launch.log_folder / "checkpoints" / f"seed_{seed}"


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
    with tempfile.TemporaryDirectory(prefix="pgolf-train-") as scratch:
        folder = Path(scratch, "run")
        folder.mkdir()
        shutil.copy(launch.script, folder / "train_gpt.py")
        process = start_training(launch, seed, folder)
        try:
            with partial.open("w", encoding="utf-8") as file:
                for line in process.stdout or ():
                    file.write(line)
                    file.flush()
                    watch(line.rstrip("\n"))
            exit_code = process.wait()
        finally:
            stop_training(process)
        if exit_code != 0:
            what = describe_failure(partial, rank_logs(folder), exit_code)
            for state in sorted(folder.glob(f"{DIVERGED_PREFIX}*")):
                kept = shutil.move(state, log.with_suffix(f".{state.name}"))
                what += f"; {state.name} is kept as {kept}"
            raise LaunchError(f"seed {seed}: {what}; its output is in {partial}")
    partial.replace(log)
    shutil.rmtree(checkpoint_folder(launch, seed), ignore_errors=True)


def rank_logs(folder: Path) -> Path:
    """Where torchrun keeps what all processes but the first print: beside the working folder."""
    return folder.with_name("ranks")


def describe_failure(log: Path, ranks: Path, exit_code: int) -> str:
    """How training ended: which process failed first, with what, and its last words."""
    text = log.read_text(encoding="utf-8")
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


def link_data(launch: Launch, folder: Path) -> dict[str, str]:
    """Put the data where the public run command has them: a log names no folder of this machine."""
    dataset = Path("data", "datasets", launch.data_path.resolve().name)
    tokenizer = Path("data", "tokenizers", launch.tokenizer_path.resolve().name)
    for link, target in ((dataset, launch.data_path), (tokenizer, launch.tokenizer_path)):
        (folder / link).parent.mkdir(parents=True)
        (folder / link).symlink_to(target.resolve())
    return {"DATA_PATH": f"./{dataset}", "TOKENIZER_PATH": f"./{tokenizer}"}


def start_training(launch: Launch, seed: int, folder: Path) -> subprocess.Popen[str]:
    """Start the script in a session of its own, so that all its processes can be stopped.

    Raises:
        LaunchError: the system refuses.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in public_names()}
    settings = {
        "SEED": str(seed),
        "RUN_ID": f"seed_{seed}",
        "CHECKPOINT_FOLDER": str(checkpoint_folder(launch, seed).resolve()),
        **link_data(launch, folder),
    }
    command = [sys.executable, "train_gpt.py"]
    if launch.num_gpus is not None:
        torchrun = ["-m", "torch.distributed.run", "--standalone"]
        to_files = ",".join(f"{rank}:3" for rank in range(1, launch.num_gpus))  # 3: both streams
        if to_files:
            torchrun += [f"--log-dir={rank_logs(folder)}", f"--redirects={to_files}"]
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
