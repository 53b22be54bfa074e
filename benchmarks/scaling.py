"""What more GPUs bring: a recipe's bundled script beside a public one, at one GPU and at many.

    python benchmarks/scaling.py --data data/fineweb --recipe baseline --public train_gpt.py \
        --gpus 1,8 --steps 80 --out scaling.jsonl

The tokens of a step are the recipe's at any number of GPUs, as in the challenge, where one GPU
accumulates eight micro-batches: efficiency is the speed-up over the fewest GPUs, divided by how
many times as many there are. Scripts run one after the other where they need all GPUs, and side by
side on GPUs of their own where they do not, which saves minutes of a large machine. A JSON line
for each run as it ends, then one for each script. Without GPUs (gloo) it is a trial of itself.
`communication_share.py` tells how much of a step goes into communication.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from train_step import environment, run_script, shortened, summarise

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trainer.recipe import Recipe, recipe_settings  # noqa: E402
from trainer.recipe_file import load_recipe  # noqa: E402
from trainer.submission_folder.bundle_script import bundle_script  # noqa: E402

Figures = dict[str, object]


def measure(
    script: tuple[str, Path], gpus: range, recipe: Recipe, arguments: argparse.Namespace
) -> Figures:
    """One script on some of the machine's GPUs."""
    name, path = script
    settings = environment(recipe, arguments, f"{name}_{len(gpus)}")
    settings["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpus))
    started = time.perf_counter()
    log = run_script(path, settings, arguments, num_processes=len(gpus))
    figures = summarise(log, recipe.batch.train_batch_tokens)
    figures["last_loss"] = list(figures.pop("losses").values())[-1]
    wall_seconds = round(time.perf_counter() - started, 1)
    return {"script": name, "gpus": len(gpus), "wall_seconds": wall_seconds} | figures


def measurements(
    scripts: dict[str, Path], recipe: Recipe, arguments: argparse.Namespace
) -> Iterator[Figures]:
    """Every script at every number of GPUs, side by side where they fit."""
    num_there = torch.cuda.device_count()
    for count in sorted(arguments.gpus):
        places = [range(n * count, (n + 1) * count) for n in range(len(scripts))]
        fit = places[-1].stop <= num_there
        with ThreadPoolExecutor(max_workers=len(scripts) if fit else 1) as threads:
            yield from threads.map(
                lambda script, place: measure(script, place, recipe, arguments),
                scripts.items(),
                places if fit else [range(count)] * len(scripts),
            )


def efficiencies(runs: list[Figures]) -> Iterator[Figures]:
    """Of each script, against its run on the fewest GPUs."""
    for name in dict.fromkeys(run["script"] for run in runs):
        first, *others = (run for run in runs if run["script"] == name)
        for run in others:
            speed_up = float(first["ms_per_step_median"]) / float(run["ms_per_step_median"])
            times = run["gpus"] / first["gpus"]
            yield {
                "script": name,
                "gpus": f"{first['gpus']} to {run['gpus']}",
                "speed_up": round(speed_up, 3),
                "efficiency": round(speed_up / times, 4),
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of `pgolf-train data`")
    parser.add_argument("--tokenizer", type=Path, help="default: the one that goes with the data")
    parser.add_argument("--recipe", default="baseline")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--public", type=Path, help="the public train_gpt.py")
    parser.add_argument("--gpus", type=lambda text: list(map(int, text.split(","))), default=[1, 8])
    parser.add_argument("--steps", type=int, default=80, help="at least 60")
    parser.add_argument("--out", type=Path, help="JSON lines, added to; logs beside it")
    arguments = parser.parse_args()
    pairs = (change.partition("=") for change in arguments.changes)
    changes = {key: ("--set", value) for key, _, value in pairs}
    recipe = shortened(load_recipe(arguments.recipe, changes).recipe, arguments.steps)
    with tempfile.TemporaryDirectory() as folder:
        ours = Path(folder, "train_gpt.py")
        ours.write_text(bundle_script(recipe_settings(recipe), arguments.recipe))
        scripts = {"public": arguments.public} if arguments.public else {}
        runs: list[Figures] = []
        for run in measurements(scripts | {"ours": ours}, recipe, arguments):
            runs.append(run)
            tell(run, arguments.out)
    for line in efficiencies(runs):
        tell(line, arguments.out)


def tell(figures: Figures, out: Path | None) -> None:
    line = json.dumps(figures)
    print(line, flush=True)
    if out:
        with out.open("a") as file:
            print(line, file=file)


if __name__ == "__main__":
    main()
