"""What the harness costs a run, measured so that what slows the machine slows both sides.

    python benchmarks/harness_overhead.py --rounds 6 --seconds 60

Two runs of one script go on at the same time, each with all that stands around it bound to one core
of two, and change cores every window: neither a slow minute of the machine nor a slow core is on
one side. One side is bare; the other is bare too (which shows what the method is worth) or stands
with its whole harness under `pgolf-verify run`. A shared counter tells the steps without asking.

Beside it: seconds that a command takes besides its seed (start, probe of the sandbox, evidence).
"""

import argparse
import json
import mmap
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import yaml
from scipy.stats import t as student_t

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "verifier"))
from kill_trial import PROGRAM, make_workplace  # noqa: E402
from tiny_track import tiny_track  # noqa: E402

SCRIPT = """
import hashlib, mmap, os, pathlib
import numpy as np

print("seed:" + os.environ["SEED"])
numbers = np.random.default_rng(7).bytes(64)
with open("counter", "wb") as file:
    file.write(bytes(16))
with open("counter", "r+b") as file:
    shared = mmap.mmap(file.fileno(), 16)  # steps made; steps to make at most
shared[8:] = int(os.environ["STEPS"]).to_bytes(8, "little")
step = 0
while step < int.from_bytes(shared[8:], "little"):
    numbers = hashlib.pbkdf2_hmac("sha512", numbers, b"pgolf", 30_000)
    step += 1
    shared[:8] = step.to_bytes(8, "little")
    if step % 10 == 0:
        loss = numbers[0]
        print(f"step:{step}/1000000 train_loss:{loss:.6f} train_time:{step}ms", flush=True)
pathlib.Path("model.ptz").write_bytes(bytes(500))
print("Serialized model int8+zlib: 500 bytes")
print("final val_loss:1.0 val_bpb:1.0")
"""
MIB = 2**20
FOREVER, SHORT = 1_000_000, 20
WARM_UP_SECONDS = 2.0
CORES = sorted(os.sched_getaffinity(0))[-2:]
FIGURES = ("seconds a step", "the script's CPU a step", "of a core for all else")
"""The second side's to the first's, twice; then CPU seconds of the rest of its tree a second."""


class Run:
    """A process tree that makes steps."""

    def __init__(self, process: subprocess.Popen[bytes], counter: Path) -> None:
        self.leader = psutil.Process(process.pid)
        while not (counter.exists() and counter.stat().st_size == 16):
            assert process.poll() is None, "the run ended before its first step"
            time.sleep(0.01)
        with counter.open("r+b") as file:
            self.shared = mmap.mmap(file.fileno(), 16)
        time.sleep(WARM_UP_SECONDS)
        self.tree = [self.leader, *self.leader.children(recursive=True)]
        self.threads = [thread.id for process in self.tree for thread in process.threads()]

    @property
    def steps(self) -> int:
        return int.from_bytes(self.shared[:8], "little")

    def bind(self, core: int) -> None:
        """All its threads, those of the harness too."""
        for thread in self.threads:
            os.sched_setaffinity(thread, {core})

    def gauges(self) -> tuple[float, float, float]:
        """Steps, CPU seconds of the script, and of all else in the tree."""
        *others, worker = map(cpu_seconds, self.tree)
        return self.steps, worker, sum(others)

    def end(self) -> None:
        self.shared[8:] = bytes(8)
        self.leader.wait()


@dataclass(frozen=True, kw_only=True)
class Round:
    """Two runs of their own processes, at the same time."""

    gained: np.ndarray  # (2 sides, 3) as of Run.gauges
    seconds: float
    leader_memory_bytes: int

    @property
    def figures(self) -> np.ndarray:
        """In the order of FIGURES."""
        (steps, worker, _), (steps2, worker2, others) = self.gained
        cpu = (worker2 / steps2) / (worker / steps)
        return np.array([steps / steps2, cpu, others / self.seconds])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60.0, help="a side and round")
    parser.add_argument("--window", type=float, default=0.1, help="seconds between core changes")
    parser.add_argument("--commands", type=int, default=10, help="short ones, for the constant")
    parser.add_argument("--sides", nargs="*", default=["bare", "harnessed"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pgolf-overhead-") as name:
        folder = prepare(Path(name))
        if arguments.commands:
            report_constant(folder, arguments.commands)
        num_windows = round(arguments.seconds / arguments.window)
        for side in arguments.sides:
            print(f"\nbare against {side}, {num_windows} windows of {arguments.window} s")
            rounds = []
            for number in range(arguments.rounds):
                rounds.append(side_by_side(folder, side, number, (num_windows, arguments.window)))
                report_round(rounds[-1])
            report(rounds)


def prepare(folder: Path) -> Path:
    make_workplace(folder)
    (folder / "submission" / "train_gpt.py").write_text(SCRIPT)
    track = tiny_track()
    for limit in ("train_seconds", "eval_seconds", "hard_wall_seconds"):
        track["limits"][limit]["value"] = 36_000
    track["limits"]["memory_bytes"]["value"] = 2**31
    track["limits"]["output_bytes"]["value"] = 2**30
    (folder / "site" / "rules" / "tracks" / "tiny.yaml").write_text(yaml.safe_dump(track))
    return folder


def side_by_side(folder: Path, side: str, number: int, windows: tuple[int, float]) -> Round:
    num_windows, seconds = windows
    here = folder / f"{side}{number}"
    here.mkdir()
    start = {"bare": start_bare, "harnessed": start_harnessed}[side]
    pair = (start_bare(folder, here / "a"), start(folder, here / "b"))
    before, began = np.array([run.gauges() for run in pair]), time.monotonic()
    for window in range(num_windows):
        for run, core in zip(pair, CORES if window % 2 == 0 else CORES[::-1], strict=True):
            run.bind(core)
        time.sleep(seconds)
    after, ended = np.array([run.gauges() for run in pair]), time.monotonic()
    memory_bytes = pair[1].leader.memory_info().rss
    for run in pair:
        run.end()
    return Round(gained=after - before, seconds=ended - began, leader_memory_bytes=memory_bytes)


def start_bare(folder: Path, here: Path) -> Run:
    here.mkdir()
    settings = {"SEED": "7", "STEPS": str(FOREVER), "OMP_NUM_THREADS": "1"}
    with (here / "bare.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, folder / "submission" / "train_gpt.py"],
            env=os.environ | settings,
            stdout=log,
            cwd=here,
        )
    return Run(process, here / "counter")


def start_harnessed(folder: Path, out: Path) -> Run:
    process = command(folder, out, FOREVER)
    return Run(process, out / "seed_7" / "work" / "counter")


def command(folder: Path, out: Path, steps: int) -> subprocess.Popen[bytes]:
    text = f"```\nSTEPS={steps} OMP_NUM_THREADS=1 python train_gpt.py\n```\n"
    (folder / "submission" / "README.md").write_text(text)
    words = ["run", folder / "submission", "--track", "tiny", "--data", folder / "data", "-q"]
    return subprocess.Popen(
        [PROGRAM, *words, "--seeds", "7", "--out", out],
        env=os.environ | {"PYTHONPATH": f"{folder / 'site'}:{os.environ.get('PYTHONPATH', '')}"},
        stdout=subprocess.DEVNULL,
    )


def cpu_seconds(process: psutil.Process) -> float:
    """To the nanosecond, over all its threads."""
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def report_constant(folder: Path, num_commands: int) -> None:
    besides = []
    for number in range(num_commands):
        out, began = folder / f"short{number}", time.monotonic()
        assert command(folder, out, SHORT).wait() == 0
        whole_seconds = time.monotonic() - began
        seed = json.loads((out / "seed_7" / "measurement.json").read_text())
        assert seed["outcome"] == "completed", seed["detail"]
        besides.append(whole_seconds - seed["wall_seconds"])
    print(
        f"a command less its seed, {num_commands} times: least {min(besides):.2f} s, "
        f"median {statistics.median(besides):.2f} s, load {os.getloadavg()[0]:.1f}"
    )


def report_round(seen: Round) -> None:
    told = ", ".join(f"{n} {f:.4f}" for n, f in zip(FIGURES, seen.figures, strict=True))
    memory = f"{seen.leader_memory_bytes / MIB:.0f} MiB"
    print(f"{told}; {memory}; load {os.getloadavg()[0]:.1f}", flush=True)


def report(rounds: Sequence[Round]) -> None:
    """Means over rounds, with intervals from their spread: each has processes of its own."""
    figures = np.array([seen.figures for seen in rounds])
    half = student_t.ppf(0.975, len(rounds) - 1) * figures.std(axis=0, ddof=1) / len(rounds) ** 0.5
    for name, mean, error in zip(FIGURES, figures.mean(axis=0), half, strict=True):
        print(f"{len(rounds)} rounds, {name}: {mean:.4f} ± {error:.4f} (95 %)")


if __name__ == "__main__":
    main()
