"""What the harness costs a training run on GPUs: torchrun bare and under pgolf-verify, in pairs.

    python benchmarks/gpu_overhead.py --submission DIR --data DIR --gpus 1 --pairs 5 \
        --env ITERATIONS=200 --env MAX_WALLCLOCK_SECONDS=0

Each run starts with empty compile caches, as every run in the sandbox does, and does the same
number of steps. Wall seconds of a seed against the bare run's, and what the command takes besides.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from trainer.data.data_folder import find_datasets  # noqa: E402

SEED = 1337


def bare(folder: Path, arguments: argparse.Namespace) -> float:
    """Wall seconds of torchrun alone."""
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
    with (folder / "bare.log").open("wb") as log:
        subprocess.run(
            [*torchrun, f"--nproc_per_node={arguments.gpus}", "train_gpt.py"],
            cwd=workdir,
            env=os.environ | settings,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=True,
        )
    return time.monotonic() - began


def under_harness(folder: Path, arguments: argparse.Namespace) -> tuple[float, float]:
    """Wall seconds of the seed as the harness measured it, and of its whole command."""
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
    return seed["wall_seconds"], command_seconds


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
    ratios = []
    print("| bare s | seed s | seed / bare | command - seed s |\n| --- | --- | --- | --- |")
    for number in range(arguments.pairs):
        with tempfile.TemporaryDirectory(prefix="pgolf-overhead-") as name:
            if number % 2:
                seed_seconds, command_seconds = under_harness(Path(name), arguments)
                bare_seconds = bare(Path(name), arguments)
            else:
                bare_seconds = bare(Path(name), arguments)
                seed_seconds, command_seconds = under_harness(Path(name), arguments)
        ratios.append(seed_seconds / bare_seconds)
        besides = command_seconds - seed_seconds
        row = f"{bare_seconds:.2f} | {seed_seconds:.2f} | {ratios[-1]:.4f} | {besides:.2f}"
        print(f"| {row} |", flush=True)
    print(f"median ratio {statistics.median(ratios):.4f}")


if __name__ == "__main__":
    main()
