"""What the harness costs a training run on GPUs: torchrun bare and under pgolf-verify, in pairs.

    python benchmarks/gpu_overhead.py --submission DIR --data DIR --gpus 1 --pairs 5 \
        --env ITERATIONS=200 --env MAX_WALLCLOCK_SECONDS=0

Each run starts with empty compile caches, as every run in the sandbox does, and does the same
number of steps. Wall seconds of a seed against the bare run's; the same of its steps alone after
the first ten, since start and compiling scatter more than the harness costs; and what the command
takes besides.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from trainer.data.data_folder import find_datasets  # noqa: E402

SEED = 1337
STEP = re.compile(rb"^step:(\d+)/\d+ train_loss:\S+ train_time:(\d+)ms", re.MULTILINE)
WARM_STEPS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One run, bare or not."""

    wall_seconds: float
    ms_per_step: float


def ms_per_step(log: Path) -> float:
    """Milliseconds of a step by the script's own clock, once it is warm."""
    told = [(int(step), int(ms)) for step, ms in STEP.findall(log.read_bytes())]
    (begin, begin_ms), *_ = [point for point in told if point[0] >= WARM_STEPS]
    end, end_ms = told[-1]
    return (end_ms - begin_ms) / (end - begin)


def bare(folder: Path, arguments: argparse.Namespace) -> Run:
    """Torchrun alone."""
    dataset = find_datasets(arguments.data)[0]
    workdir = folder / "work"
    shutil.copytree(arguments.submission, workdir)
    settings = dict(setting.split("=", 1) for setting in arguments.env) | {
        "DATA_PATH": str(dataset.folder.resolve()),
        "TOKENIZER_PATH": str(dataset.tokenizer.resolve()),
        "SEED": str(SEED),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "TRITON_CACHE_DIR": str(folder / "triton"),
    }
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    began = time.monotonic()
    log_path = folder / "bare.log"
    with log_path.open("wb") as log:
        subprocess.run(
            [*torchrun, f"--nproc_per_node={arguments.gpus}", "train_gpt.py"],
            cwd=workdir,
            env=os.environ | settings,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=True,
        )
    wall_seconds = time.monotonic() - began
    return Run(wall_seconds=wall_seconds, ms_per_step=ms_per_step(log_path))


def under_harness(folder: Path, arguments: argparse.Namespace) -> tuple[Run, float]:
    """The seed as the harness measured it, and the wall seconds of its whole command."""
    out = folder / "run"
    words = [sys.executable, "-m", "verifier", "run", str(arguments.submission), "-q"]
    words += ["--data", str(arguments.data), "--gpus", str(arguments.gpus), "--out", str(out)]
    words += ["--seeds", str(SEED), "--sandbox", arguments.sandbox]
    for setting in arguments.env:
        words += ["--env", setting]
    path = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"
    began = time.monotonic()
    subprocess.run(words, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.DEVNULL)
    command_seconds = time.monotonic() - began
    seed = json.loads((out / f"seed_{SEED}" / "measurement.json").read_text())
    if seed["outcome"] != "completed":
        sys.exit(f"the run under the harness ended as {seed['outcome']}: {seed['detail']}")
    log_path = out / f"seed_{SEED}" / "stdout.log"
    run = Run(wall_seconds=seed["wall_seconds"], ms_per_step=ms_per_step(log_path))
    return run, command_seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--submission", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--sandbox", default="bubblewrap")
    parser.add_argument("--env", action="append", default=[], metavar="K=V")
    arguments = parser.parse_args()
    arguments.submission = arguments.submission.resolve()
    arguments.data = arguments.data.resolve()
    walls, steps = [], []
    print("| bare s | seed s | ratio | bare ms/step | seed ms/step | ratio | command - seed s |")
    print("| --- " * 7 + "|")
    for number in range(arguments.pairs):
        with tempfile.TemporaryDirectory(prefix="pgolf-overhead-") as name:
            if number % 2:
                seed, command_seconds = under_harness(Path(name), arguments)
                alone = bare(Path(name), arguments)
            else:
                alone = bare(Path(name), arguments)
                seed, command_seconds = under_harness(Path(name), arguments)
        walls.append(seed.wall_seconds / alone.wall_seconds)
        steps.append(seed.ms_per_step / alone.ms_per_step)
        print(
            f"| {alone.wall_seconds:.2f} | {seed.wall_seconds:.2f} | {walls[-1]:.4f} "
            f"| {alone.ms_per_step:.2f} | {seed.ms_per_step:.2f} | {steps[-1]:.4f} "
            f"| {command_seconds - seed.wall_seconds:.2f} |",
            flush=True,
        )
    for name, ratios in (("wall", walls), ("step", steps)):
        print(f"{name}: median ratio {statistics.median(ratios):.4f}")


if __name__ == "__main__":
    main()
