"""Milliseconds a training step: a recipe's bundled script beside a public one, on one GPU.

    python benchmarks/train_step.py --data data/demo --recipe baseline --public PATH/TO/train_gpt.py
    python benchmarks/train_step.py --data data/fineweb --recipe pr61_v2 --steps 100 --out step.json

Runs one after the other on the same shards, one process, and reads both from their own logs: the
loss curves should lie on each other, and the medians can be compared. Only the recipe's length,
schedule and evaluation are shortened; the bundle is written for that, and the public script is told
every option by its public name. Times are differences between log lines, so start and compilation
are not in them. Without --public, the recipe is timed alone.
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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trainer.data.data_folder import find_datasets  # noqa: E402
from trainer.recipe import Recipe, recipe_settings  # noqa: E402
from trainer.recipe_checks import build_recipe  # noqa: E402
from trainer.recipe_file import load_recipe  # noqa: E402
from trainer.submission_folder.bundle_script import bundle_script  # noqa: E402

STEP = re.compile(r"^step:(\d+)/\d+ train_loss:(\S+) train_time:(\d+)ms", re.MULTILINE)
PEAK_MIB = re.compile(r"^peak memory allocated: (\d+) MiB", re.MULTILINE)
FINAL_BPB = re.compile(r"^final_\w*roundtrip_exact .*val_bpb:(\S+)", re.MULTILINE)
LOG_EVERY = 20
RUN_SECONDS = 900


def shortened(recipe: Recipe, num_steps: int) -> Recipe:
    """The recipe without what is not timed."""
    return build_recipe(
        recipe_settings(recipe)
        | {
            "schedule.iterations": num_steps,
            "schedule.max_wallclock_seconds": 0,
            "schedule.warmdown_iters": num_steps // 4,
            "schedule.train_log_every": LOG_EVERY,
            "schedule.val_loss_every": 0,
            "quantization.compressor": "zlib",
            "evaluation.eval_stride": 0,
            "evaluation.ttt_enabled": False,
        }
    )


def environment(recipe: Recipe, arguments: argparse.Namespace, name: str) -> dict[str, str]:
    """The recipe by public names."""
    dataset = find_datasets(arguments.data)[0]
    options = {
        path.split(".")[1].upper(): str(int(value) if isinstance(value, bool) else value)
        for path, value in recipe_settings(recipe).items()
        if not path.startswith("model.fused_")  # how, not what: each script uses its own kernels
    }
    return options | {
        "DATA_PATH": str(dataset.folder.resolve()),
        "TOKENIZER_PATH": str((arguments.tokenizer or dataset.tokenizer).resolve()),
        "RUN_ID": name,
        "SEED": "1337",
    }


def run_script(
    script: Path, settings: dict[str, str], arguments: argparse.Namespace, num_processes: int = 1
) -> str:
    """Everything that a script prints."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    torchrun.append(f"--nproc_per_node={num_processes}")
    with tempfile.TemporaryDirectory(prefix="train_step_") as folder:
        shutil.copy(script, Path(folder, "train_gpt.py"))
        ran = subprocess.run(
            [*torchrun, "train_gpt.py"],
            cwd=folder,
            env=os.environ | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RUN_SECONDS,
        )
    name = settings["RUN_ID"]
    if arguments.out:
        arguments.out.with_suffix(f".{name}.log").write_text(ran.stdout)
    if ran.returncode:
        sys.exit(f"{name} failed with exit code {ran.returncode}:\n{ran.stdout[-3000:]}")
    return ran.stdout


def summarise(log: str, tokens_per_step: int) -> dict[str, object]:
    """What a log says: milliseconds a step between log lines, losses, memory, score."""
    steps = [(int(step), float(loss), int(ms)) for step, loss, ms in STEP.findall(log)]
    regular = [one for one in steps if one[0] % LOG_EVERY == 0]
    # The first interval still holds allocations; the rest are the machine's pace.
    pace = [
        (late[2] - early[2]) / (late[0] - early[0])
        for early, late in zip(regular[1:], regular[2:], strict=False)
    ]
    peak, final = PEAK_MIB.search(log), FINAL_BPB.search(log)
    return {
        "ms_per_step_median": round(statistics.median(pace), 2),
        "ms_per_step_min": round(min(pace), 2),
        "ms_per_step_max": round(max(pace), 2),
        "tokens_per_second": round(1000 * tokens_per_step / statistics.median(pace)),
        "peak_mib": int(peak[1]) if peak else None,
        "final_val_bpb": float(final[1]) if final else None,
        "losses": {step: loss for step, loss, _ in steps},
    }


def print_side_by_side(results: dict[str, dict[str, object]]) -> None:
    ours = results["ours"]
    for figure in (key for key in ours if key != "losses"):
        print(f"{figure:20} " + "  ".join(f"{n}: {r[figure]!s:>12}" for n, r in results.items()))
    if "public" in results:
        ratio = ours["ms_per_step_median"] / results["public"]["ms_per_step_median"]
        print(f"{'ours / public':20} {ratio:.3f}")
    for step in sorted(ours["losses"]):
        losses = (f"{n}: {r['losses'].get(step, float('nan')):8.4f}" for n, r in results.items())
        print(f"loss at step {step:<7} " + "  ".join(losses))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of `pgolf-train data`")
    parser.add_argument("--tokenizer", type=Path, help="default: the one that goes with the data")
    parser.add_argument("--recipe", default="baseline")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--public", type=Path, help="the public train_gpt.py")
    parser.add_argument("--steps", type=int, default=200, help="at least 60")
    parser.add_argument("--out", type=Path, help="JSON; the logs are written beside it")
    arguments = parser.parse_args()
    pairs = (change.partition("=") for change in arguments.changes)
    changes = {key: ("--set", value) for key, _, value in pairs}
    recipe = shortened(load_recipe(arguments.recipe, changes).recipe, arguments.steps)
    with tempfile.TemporaryDirectory() as folder:
        ours = Path(folder, "train_gpt.py")
        ours.write_text(bundle_script(recipe_settings(recipe), arguments.recipe))
        scripts = {"public": arguments.public, "ours": ours}
        results = {
            name: summarise(
                run_script(script, environment(recipe, arguments, name), arguments),
                recipe.batch.train_batch_tokens,
            )
            for name, script in scripts.items()
            if script
        }
    print_side_by_side(results)
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
