"""What the harness costs a run, measured so that other work on the machine cannot hide it.

    python benchmarks/harness_overhead.py --rounds 5 --seconds 60

Two runs of one script exist at a time, and only one of them goes on: they take turns by SIGSTOP and
SIGCONT, a window each, and whatever slows the machine for longer slows both. In its windows a run
counts its steps where we can read them without asking. One side is bare; the other is bare too
(which shows what the method is worth) or stands with its whole harness under `pgolf-verify run`.
Everything is bound to one core, so that all that the harness does is taken from the script, and
CPU time of the whole tree for a step tells it even where other work takes turns on that core.

Beside it: seconds that a command takes besides its seed (start, probe of the sandbox, evidence).
"""

import argparse
import json
import mmap
import os
import signal
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

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "verifier"))
from kill_trial import PROGRAM, make_workplace  # noqa: E402
from tiny_track import tiny_track  # noqa: E402

SCRIPT = """
import mmap, os, pathlib
import numpy as np

print("seed:" + os.environ["SEED"])
matrix = np.random.default_rng(7).standard_normal((512, 512))
with open("counter", "wb") as file:
    file.write(bytes(16))
with open("counter", "r+b") as file:
    shared = mmap.mmap(file.fileno(), 16)  # steps made; steps to make at most
shared[8:] = int(os.environ["STEPS"]).to_bytes(8, "little")
step = 0
while step < int.from_bytes(shared[8:], "little"):
    for _ in range(5):
        matrix = np.tanh(matrix @ matrix / 512)
    step += 1
    shared[:8] = step.to_bytes(8, "little")
    if step % 10 == 0:
        loss = abs(matrix).mean()
        print(f"step:{step}/1000000 train_loss:{loss:.6f} train_time:{step}ms", flush=True)
pathlib.Path("model.ptz").write_bytes(bytes(500))
print("Serialized model int8+zlib: 500 bytes")
print("final val_loss:1.0 val_bpb:1.0")
"""
MIB = 2**20
FOREVER, SHORT = 1_000_000, 20
NUM_RESAMPLES = 10_000
NAMES = ("by the clock", "in CPU time")


class Run:
    """A process tree that makes steps, stopped from its first one on but for its windows."""

    def __init__(self, process: subprocess.Popen[bytes], counter: Path) -> None:
        self.leader = psutil.Process(process.pid)
        while not (counter.exists() and counter.stat().st_size == 16):
            assert process.poll() is None, "the run ended before its first step"
            time.sleep(0.01)
        time.sleep(1.0)  # the first steps warm caches up
        with counter.open("r+b") as file:
            self.shared = mmap.mmap(file.fileno(), 16)
        self.tree = [self.leader, *self.leader.children(recursive=True)]
        self.signal(signal.SIGSTOP)

    @property
    def steps(self) -> int:
        return int.from_bytes(self.shared[:8], "little")

    def signal(self, number: int) -> None:
        """To the worker first, so that what stands around it is in neither side's windows."""
        for process in reversed(self.tree):
            process.send_signal(number)

    def window(self, seconds: float) -> tuple[float, float, float]:
        """Steps, seconds by the clock, CPU seconds of the whole tree, while it alone goes on."""
        before = (self.steps, time.monotonic(), self.cpu_seconds())
        self.signal(signal.SIGCONT)
        time.sleep(seconds)
        self.signal(signal.SIGSTOP)
        after = (self.steps, time.monotonic(), self.cpu_seconds())
        return (after[0] - before[0], after[1] - before[1], after[2] - before[2])

    def cpu_seconds(self) -> float:
        return sum(map(cpu_seconds, self.tree))

    def end(self) -> None:
        self.shared[8:] = bytes(8)
        self.signal(signal.SIGCONT)
        self.leader.wait()


@dataclass(frozen=True, kw_only=True)
class Round:
    """Windows of two runs in turn, and what the second run's first process used meanwhile."""

    windows: np.ndarray  # (N, 2 sides, 3) as of Run.window
    leader_cpu_share: float
    leader_memory_bytes: int


def slowness(windows: np.ndarray) -> np.ndarray:
    """How much more the second side takes for a step: by the clock, and in CPU time."""
    sums = windows.sum(axis=-3)  # (…, 2, 3)
    for_a_step = sums[..., 1:] / sums[..., :1]
    return for_a_step[..., 1, :] / for_a_step[..., 0, :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60.0, help="a side and round")
    parser.add_argument("--window", type=float, default=1.0, help="seconds")
    parser.add_argument("--commands", type=int, default=10, help="short ones, for the constant")
    parser.add_argument("--sides", nargs="*", default=["bare", "harnessed"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pgolf-overhead-") as name:
        folder = prepare(Path(name))
        if arguments.commands:
            report_constant(folder, arguments.commands)
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        num_windows = round(arguments.seconds / arguments.window)
        for side in arguments.sides:
            print(f"\nbare against {side}, {num_windows} windows of {arguments.window} s a side")
            rounds = []
            for number in range(arguments.rounds):
                rounds.append(take_turns(folder, side, number, (num_windows, arguments.window)))
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


def take_turns(folder: Path, side: str, number: int, windows: tuple[int, float]) -> Round:
    """A B, B A, A B …: so that no side is always the later one."""
    num_windows, seconds = windows
    here = folder / f"{side}{number}"
    here.mkdir()
    start = {"bare": start_bare, "harnessed": start_harnessed}[side]
    pair = (start_bare(folder, here / "a"), start(folder, here / "b"))
    leader = pair[1].leader
    cpu_before, seen = cpu_seconds(leader), np.empty((num_windows, 2, 3))
    for window in range(num_windows):
        for which in (0, 1) if window % 2 == 0 else (1, 0):
            seen[window, which] = pair[which].window(seconds)
    cpu_share = (cpu_seconds(leader) - cpu_before) / (num_windows * seconds)
    memory_bytes = leader.memory_info().rss
    for run in pair:
        run.end()
    return Round(windows=seen, leader_cpu_share=cpu_share, leader_memory_bytes=memory_bytes)


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
    clock, cpu = slowness(seen.windows)
    print(
        f"a step: {clock:.4f} by the clock, {cpu:.4f} in CPU time; second side's first process: "
        f"CPU {seen.leader_cpu_share:.2%} of its windows, {seen.leader_memory_bytes / MIB:.0f} MiB;"
        f" load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


def report(rounds: Sequence[Round]) -> None:
    """The ratios over all windows, with intervals from pairs of windows drawn again."""
    windows = np.concatenate([seen.windows for seen in rounds])
    rng, size = np.random.default_rng(0), len(windows)
    drawn = [slowness(windows[rng.integers(size, size=size)]) for _ in range(NUM_RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    for name, ratio, least, most in zip(NAMES, slowness(windows), low, high, strict=True):
        print(f"all {size} pairs, {name}: {ratio:.4f} (95 %: {least:.4f} to {most:.4f})")


if __name__ == "__main__":
    main()
