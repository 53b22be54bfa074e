"""The ladder in order: recipes trained for the same time on one GPU, over several seeds.

    python benchmarks/ladder.py --data data/docs --runs baseline:3,pr60:1,pr61_v2:3 --seconds 60 \
        --batch-share 8 --out ladder.jsonl

One GPU makes an eighth of the track's steps of full size, so a step here takes an eighth of the
recipe's tokens (`--batch-share`); counts of steps in schedules shrink with the run's length
against the recipe's own. Everything else is the recipe. The scripts are the bundles that would
ship, each run by torchrun in a folder of its own. One JSON line a run, written when it ends.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trainer.data.data_folder import find_datasets  # noqa: E402
from trainer.recipe import Recipe, recipe_settings  # noqa: E402
from trainer.recipe_file import load_recipe  # noqa: E402
from trainer.submission_folder.bundle_script import bundle_script  # noqa: E402

FINAL = re.compile(r"^(final_\S+)_exact val_loss:(\S+) val_bpb:(\S+)", re.MULTILINE)
RAW = re.compile(r"^step:(\d+)/\d+ val_loss:\S+ val_bpb:(\S+)", re.MULTILINE)
STEP = re.compile(r"^step:(\d+)/\d+ train_loss:\S+ train_time:(\d+)ms", re.MULTILINE)
TOTAL = re.compile(r"^Total submission size \S+: (\d+) bytes", re.MULTILINE)
FIRST_SEED = 1337


def environment(recipe: Recipe, seed: int, arguments: argparse.Namespace) -> dict[str, str]:
    """What a run changes of its recipe, under the public names."""
    dataset = find_datasets(arguments.data)[0]
    shrink = arguments.seconds / recipe.schedule.max_wallclock_seconds
    return {
        "DATA_PATH": str(dataset.folder.resolve()),
        "TOKENIZER_PATH": str((arguments.tokenizer or dataset.tokenizer).resolve()),
        "SEED": str(seed),
        "RUN_ID": f"seed_{seed}",
        "MAX_WALLCLOCK_SECONDS": str(arguments.seconds),
        "TRAIN_BATCH_TOKENS": str(recipe.batch.train_batch_tokens // arguments.batch_share),
        "MICRO_BATCHES_PER_STEP": "1",
        "WARMDOWN_ITERS": str(round(recipe.schedule.warmdown_iters * shrink)),
        "MUON_MOMENTUM_WARMUP_STEPS": str(
            round(recipe.optimizer.muon_momentum_warmup_steps * shrink)
        ),
        "TRAIN_LOG_EVERY": "50",
    }


def run(name: str, seed: int, arguments: argparse.Namespace) -> dict[str, object]:
    """Train, pack and score one recipe with one seed."""
    recipe = load_recipe(name, {}).recipe
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1"]
    with tempfile.TemporaryDirectory(prefix="ladder_") as folder:
        Path(folder, "train_gpt.py").write_text(bundle_script(recipe_settings(recipe), name))
        started = time.perf_counter()
        ran = subprocess.run(
            [*torchrun, "train_gpt.py"],
            cwd=folder,
            env=os.environ | environment(recipe, seed, arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        wall_seconds = time.perf_counter() - started
    arguments.out.with_name(f"{name}_{seed}.log").write_text(ran.stdout)
    if ran.returncode:
        return {"recipe": name, "seed": seed, "failed": ran.stdout[-1500:]}
    return {"recipe": name, "seed": seed, "wall_seconds": round(wall_seconds, 1)} | figures(
        ran.stdout
    )


def figures(log: str) -> dict[str, object]:
    """What the script's own lines say of a finished run."""
    steps = [(int(step), int(ms)) for step, ms in STEP.findall(log)]
    (begin, begin_ms), (end, end_ms) = steps[len(steps) // 2], steps[-1]
    total, raw = TOTAL.search(log), RAW.findall(log)
    return {
        "steps": end,
        "train_seconds": end_ms / 1000,
        "ms_per_step": round((end_ms - begin_ms) / max(end - begin, 1), 2),
        "raw_bpb": float(raw[-1][1]) if raw else None,
        "total_bytes": int(total[1]) if total else None,
        "final_bpb": {label: float(bpb) for label, _, bpb in FINAL.findall(log)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of `pgolf-train data`")
    parser.add_argument("--tokenizer", type=Path, help="default: the one that goes with the data")
    parser.add_argument("--runs", default="baseline:3,pr60:1,pr61_v2:3", help="recipe:seeds,…")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--seconds", type=float, default=60, help="of training, each run")
    parser.add_argument("--batch-share", type=int, default=8, help="tokens a step, divided by this")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, added to")
    arguments = parser.parse_args()
    arguments.out = arguments.out.resolve()
    for part in arguments.runs.split(","):
        name, _, num_seeds = part.partition(":")
        for seed in range(arguments.first_seed, arguments.first_seed + int(num_seeds or 1)):
            line = json.dumps(run(name, seed, arguments))
            print(line, flush=True)
            with arguments.out.open("a") as file:
                print(line, file=file)


if __name__ == "__main__":
    main()
