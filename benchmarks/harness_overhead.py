"""What the harness costs: the same script bare and under pgolf-verify, in pairs, turn about.

    python benchmarks/harness_overhead.py --pairs 5 --seconds 60

Wall time of a seed against the bare run's, seconds that the command takes besides (once a run:
start, probe of the sandbox, evidence), CPU seconds and memory of the harness's own process. On a
machine with other work the pairs scatter; the CPU seconds do not.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "verifier"))
from kill_trial import PROGRAM, make_workplace  # noqa: E402
from tiny_track import tiny_track  # noqa: E402

SCRIPT = """
import os, pathlib
import numpy as np

steps = int(os.environ["STEPS"])
matrix = np.random.default_rng(int(os.environ["SEED"])).standard_normal((512, 512))
print("seed:" + os.environ["SEED"])
for step in range(1, steps + 1):
    for _ in range(5):
        matrix = np.tanh(matrix @ matrix / 512)
    loss = abs(matrix).mean()
    print(f"step:{step}/{steps} train_loss:{loss:.6f} train_time:{step}ms", flush=True)
pathlib.Path("model.ptz").write_bytes(bytes(500))
print("Serialized model int8+zlib: 500 bytes")
print("final val_loss:1.0 val_bpb:1.0")
"""
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One bare run and one under the harness."""

    bare_seconds: float
    seed_seconds: float
    command_seconds: float
    harness_cpu_seconds: float
    harness_memory_bytes: int
    load: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pgolf-overhead-") as name:
        folder = prepare(Path(name))
        write_readme(folder, steps=100)
        steps = max(1, round(100 * arguments.seconds / bare(folder, steps=100)))
        write_readme(folder, steps)
        pairs = [measure(folder, steps, number) for number in range(arguments.pairs)]
    report(pairs, steps)


def prepare(folder: Path) -> Path:
    make_workplace(folder)
    (folder / "submission" / "train_gpt.py").write_text(SCRIPT)
    track = tiny_track()
    for limit in ("train_seconds", "eval_seconds", "hard_wall_seconds"):
        track["limits"][limit]["value"] = 3_600
    track["limits"]["memory_bytes"]["value"] = 2**31
    (folder / "site" / "rules" / "tracks" / "tiny.yaml").write_text(yaml.safe_dump(track))
    return folder


def write_readme(folder: Path, steps: int) -> None:
    text = f"```\nSTEPS={steps} OMP_NUM_THREADS=1 python train_gpt.py\n```\n"
    (folder / "submission" / "README.md").write_text(text)


def bare(folder: Path, steps: int) -> float:
    settings = {"STEPS": str(steps), "SEED": "7", "OMP_NUM_THREADS": "1"}
    began = time.monotonic()
    with (folder / "bare.log").open("wb") as log:
        words = [sys.executable, folder / "submission" / "train_gpt.py"]
        subprocess.run(words, env=os.environ | settings, stdout=log, cwd=folder, check=True)
    return time.monotonic() - began


def measure(folder: Path, steps: int, number: int) -> Pair:
    """Bare first in even pairs, the harness first in odd ones."""
    bare_seconds = bare(folder, steps) if number % 2 == 0 else None
    words = ["run", folder / "submission", "--track", "tiny", "--data", folder / "data", "-q"]
    out = folder / f"out{number}"
    began, load = time.monotonic(), os.getloadavg()[0]
    harness = psutil.Popen(
        [PROGRAM, *words, "--seeds", "7", "--out", out],
        env=os.environ | {"PYTHONPATH": f"{folder / 'site'}:{os.environ.get('PYTHONPATH', '')}"},
        stdout=subprocess.DEVNULL,
    )
    cpu_seconds, memory_bytes = watch(harness)
    command_seconds = time.monotonic() - began
    seed = json.loads((out / "seed_7" / "measurement.json").read_text())
    assert seed["outcome"] == "completed", seed["detail"]
    return Pair(
        bare_seconds=bare_seconds or bare(folder, steps),
        seed_seconds=seed["wall_seconds"],
        command_seconds=command_seconds,
        harness_cpu_seconds=cpu_seconds,
        harness_memory_bytes=memory_bytes,
        load=load,
    )


def watch(harness: psutil.Popen) -> tuple[float, int]:
    """CPU seconds and most resident memory of the harness's own process."""
    cpu_seconds, memory_bytes = 0.0, 0
    while harness.poll() is None:
        try:
            times = harness.cpu_times()
            cpu_seconds = times.user + times.system
            memory_bytes = max(memory_bytes, harness.memory_info().rss)
        except psutil.Error:
            break
        time.sleep(0.1)
    harness.wait()
    return cpu_seconds, memory_bytes


def report(pairs: list[Pair], steps: int) -> None:
    print(f"{steps} steps, {steps + 4} lines of output a run")
    print("| bare s | seed s | seed / bare | command - seed s | harness CPU s | MiB | load |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for pair in pairs:
        ratio, besides = (
            pair.seed_seconds / pair.bare_seconds,
            pair.command_seconds - pair.seed_seconds,
        )
        print(
            f"| {pair.bare_seconds:.2f} | {pair.seed_seconds:.2f} | {ratio:.4f} | {besides:.2f} "
            f"| {pair.harness_cpu_seconds:.2f} | {pair.harness_memory_bytes / MIB:.0f} "
            f"| {pair.load:.1f} |"
        )
    ratios = [pair.seed_seconds / pair.bare_seconds for pair in pairs]
    print(f"median ratio {statistics.median(ratios):.4f}, mean {statistics.fmean(ratios):.4f}")


if __name__ == "__main__":
    main()
