"""Starts the training script, one process (or one torchrun) a seed, and watches what it says.

Where commands may last only so long, training pauses with a checkpoint, training and evaluation
are processes of their own, and the next command goes on with what this one has kept.
"""

import contextlib
import fcntl
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from trainer.errors import LaunchError, PausedError
from trainer.process_failure import describe_failure
from trainer.public_names import public_names
from trainer.run_log import ARTIFACT_NAME, DIVERGED_PREFIX, PAUSED_PREFIX, WRITTEN_PREFIX

PARTIAL_SUFFIX = ".partial"  # of a log whose run has not ended well
STOP_SECONDS = 10.0  # between asking the processes to stop and killing them
SCRATCH_PREFIX = "pgolf-train-"
HOLDER_NAME = "holder"  # of the file in a scratch folder that its command holds a lock on
# What the system does to the script when this command is killed, as nobody would read it any more
# (PR_SET_PDEATHSIG); torchrun, told so, ends its own processes.
ENDS_WITH_US = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """What the seeds of a submission have in common."""

    script: Path
    log_folder: Path
    data_path: Path  # folder with the shards
    tokenizer_path: Path
    num_gpus: int | None  # None: the machine's one GPU or its CPU, without torchrun
    stop_at: float | None = None  # by the monotonic clock; what is left is the next command's


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedRun:
    """A seed, and where its script runs."""

    launch: Launch
    seed: int
    folder: Path  # scratch, with script and data in it
    partial: Path  # the log so far

    @property
    def kept(self) -> Path:
        """What the next command needs."""
        return checkpoint_folder(self.launch, self.seed)

    @property
    def artifact(self) -> Path:
        """The artifact of a run that was cut off while it evaluated."""
        return self.kept / ARTIFACT_NAME


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
        PausedError: the time is over; what the next command needs is kept beside the logs.
    """
    log = seed_log(launch.log_folder, seed)
    partial = log.with_name(log.name + PARTIAL_SUFFIX)
    with scratch_folder() as scratch:
        folder = scratch / "run"
        folder.mkdir()
        shutil.copy(launch.script, folder / "train_gpt.py")
        link_data(launch, folder)
        run = SeedRun(launch=launch, seed=seed, folder=folder, partial=partial)
        if not run.kept.is_dir():
            partial.unlink(missing_ok=True)
        if launch.stop_at is None and not run.artifact.is_file():
            run_script(run, [], watch)
        else:
            run_parts(run, watch)
    partial.replace(log)
    shutil.rmtree(run.kept, ignore_errors=True)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that is gone afterwards; those that killed commands left behind go as well."""
    remove_left_behind()
    with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX) as name:
        # Locked before it has its name: nobody finds one that is not held yet.
        with Path(name, "unheld").open("w") as holder:
            fcntl.flock(holder, fcntl.LOCK_EX)
            Path(name, "unheld").rename(Path(name, HOLDER_NAME))
            yield Path(name)


def remove_left_behind() -> None:
    """Remove the scratch folders whose commands are gone."""
    for holder in Path(tempfile.gettempdir()).glob(f"{SCRATCH_PREFIX}*/{HOLDER_NAME}"):
        with contextlib.suppress(OSError), holder.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(holder.parent, ignore_errors=True)


def run_parts(run: SeedRun, watch: Callable[[str], None]) -> None:
    """Train and evaluate one after the other, as far as the time goes.

    Raises:
        LaunchError: the script failed.
        PausedError: the time is over.
    """
    if run.artifact.is_file():
        watch(f"goes on from the artifact that {run.kept} kept")
    else:
        refuse_lateness(run)
        if run_script(run, ["train"], watch).startswith(PAUSED_PREFIX):
            raise PausedError(goes_on(run))
    refuse_lateness(run)
    shutil.copy(run.artifact, run.folder)
    run_script(run, ["evaluate"], watch)


def keep_artifact(run: SeedRun) -> None:
    """Lay a copy of the artifact beside the checkpoints: what is cut off later need not train."""
    run.kept.mkdir(parents=True, exist_ok=True)
    partial = run.artifact.with_suffix(PARTIAL_SUFFIX)
    shutil.copy(run.folder / ARTIFACT_NAME, partial)
    partial.replace(run.artifact)


def refuse_lateness(run: SeedRun) -> None:
    """See to it that there is time left for another process.

    Raises:
        PausedError: there is none.
    """
    if seconds_left(run.launch) <= 0:
        raise PausedError(goes_on(run))


def seconds_left(launch: Launch) -> float:
    """Until the command's time is over."""
    return math.inf if launch.stop_at is None else launch.stop_at - time.monotonic()


def goes_on(run: SeedRun) -> str:
    """What to say when the time is over."""
    return (
        f"seed {run.seed}: the time of --stop-after is over; "
        "the same command with --resume, and without --overwrite, goes on from here"
    )


def run_script(run: SeedRun, verbs: list[str], watch: Callable[[str], None]) -> str:
    """Run the script once, its output added to the log; returns the last line.

    Raises:
        LaunchError: it failed.
    """
    process = start_script(run, verbs)
    line = ""
    try:
        with run.partial.open("a", encoding="utf-8") as file:
            begin = file.tell()
            for line in process.stdout or ():
                file.write(line)
                file.flush()
                if line.startswith(WRITTEN_PREFIX):
                    keep_artifact(run)
                watch(line.rstrip("\n"))
        exit_code = process.wait()
    finally:
        stop_script(process)
    if exit_code != 0:
        said = run.partial.read_bytes()[begin:].decode("utf-8", errors="replace")
        what = describe_failure(said, rank_logs(run.folder), exit_code)
        for state in sorted(run.folder.glob(f"{DIVERGED_PREFIX}*")):
            log = seed_log(run.launch.log_folder, run.seed)
            kept = shutil.move(state, log.with_suffix(f".{state.name}"))
            what += f"; {state.name} is kept as {kept}"
        raise LaunchError(f"seed {run.seed}: {what}; its output is in {run.partial}")
    return line


def rank_logs(folder: Path) -> Path:
    """Where torchrun keeps what all processes but the first print: beside the working folder."""
    return folder.with_name("ranks")


def public_paths(launch: Launch) -> dict[str, Path]:
    """Where the public run command has the data: a log names no folder of this machine."""
    return {
        "DATA_PATH": Path("data", "datasets", launch.data_path.resolve().name),
        "TOKENIZER_PATH": Path("data", "tokenizers", launch.tokenizer_path.resolve().name),
    }


def link_data(launch: Launch, folder: Path) -> None:
    """Link the data into a scratch folder, under the names of the public run command."""
    targets = (launch.data_path, launch.tokenizer_path)
    for link, target in zip(public_paths(launch).values(), targets, strict=True):
        (folder / link).parent.mkdir(parents=True)
        (folder / link).symlink_to(target.resolve())


def start_script(run: SeedRun, verbs: list[str]) -> subprocess.Popen[str]:
    """Start the script in a session of its own, so that all its processes can be stopped.

    Raises:
        LaunchError: the system refuses.
    """
    command = script_command(run, verbs)
    try:
        return subprocess.Popen(
            command,
            cwd=run.folder,
            env=script_environment(run, verbs),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise LaunchError(f"seed {run.seed}: cannot start {command[0]}: {error}") from None


def script_environment(run: SeedRun, verbs: list[str]) -> dict[str, str]:
    """The machine's settings, without any option's public name, and what this run sets of those."""
    inherited = {name: value for name, value in os.environ.items() if name not in public_names()}
    settings = {
        "SEED": str(run.seed),
        "RUN_ID": f"seed_{run.seed}",
        "CHECKPOINT_FOLDER": str(run.kept.resolve()),
        **{name: f"./{path}" for name, path in public_paths(run.launch).items()},
    }
    if "train" in verbs:
        settings["STOP_AFTER_SECONDS"] = str(seconds_left(run.launch))
    return inherited | settings


def script_command(run: SeedRun, verbs: list[str]) -> list[str]:
    """The script's command line, by torchrun where GPUs were asked for."""
    command = [sys.executable, "train_gpt.py", *verbs]
    if (num_gpus := run.launch.num_gpus) is not None:
        torchrun = ["-m", "torch.distributed.run", "--standalone"]
        torchrun += [f"--log-dir={rank_logs(run.folder)}"]  # else it leaves a folder in /tmp
        to_files = ",".join(f"{rank}:3" for rank in range(1, num_gpus))  # 3: both streams
        if to_files:
            torchrun += [f"--redirects={to_files}"]
        command[1:1] = [*torchrun, f"--nproc_per_node={num_gpus}"]
    if sys.platform == "linux":
        command[:0] = [sys.executable, "-I", "-S", "-c", ENDS_WITH_US, str(os.getpid())]
    return command


def stop_script(process: subprocess.Popen[str]) -> None:
    """End whatever still runs of a script, torchrun and its processes included."""
    children: list[psutil.Process] = []
    try:
        with contextlib.suppress(psutil.NoSuchProcess):  # torchrun gives each a session of its own
            children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=STOP_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):  # who says stop twice means at once
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    except ProcessLookupError:
        pass  # all have ended by themselves
    for child in children:
        with contextlib.suppress(psutil.Error):
            child.kill()
