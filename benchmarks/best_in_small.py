"""Whether `best` holds up against the recipes that it comes from, in small, at equal steps.

    python benchmarks/best_in_small.py --data DOCS8192 --out best.jsonl

Trains each recipe, made narrow and short alone, with every seed, and scores it three times: as
averaged, rounded by GPTQ with the recipe's own clips, and rounded while it learns. Ranks, windows
and batches of documents are divided, rates of adapters multiplied by the same for all. Matrices
so small would be kept as floats: here they are rounded all the same. One JSON line a run, as soon
as it is known; at the end differences over seeds, with 95 % intervals (t, paired by seed).
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import trainer.quantization.rounding  # noqa: E402
from trainer.data.data_folder import find_datasets  # noqa: E402
from trainer.evaluation.scoring import evaluation_windows, training_windows  # noqa: E402
from trainer.phases.pack import calibrate  # noqa: E402
from trainer.phases.prepare import prepare_run  # noqa: E402
from trainer.phases.score import score_model  # noqa: E402
from trainer.phases.train import begin_training  # noqa: E402
from trainer.quantization.calibrated_rounding import (  # noqa: E402
    quantize_calibrated,
    restore_calibrated,
)
from trainer.recipe import Recipe  # noqa: E402
from trainer.recipe_file import load_recipe  # noqa: E402
from trainer.training_loop import train  # noqa: E402

FORMS = ("averaged", "rounded", "learning")
SMALLEST_ROUNDED = 1_000  # weights of a matrix
RANKS, WINDOWS, RATES = 8, 16, 10  # divided by, divided by, multiplied by
SMALL: dict[str, object] = {
    "batch.train_batch_tokens": 1024,
    "batch.train_seq_len": 128,
    "batch.micro_batches_per_step": 2,
    "batch.val_batch_size": 2048,
    "model.model_dim": 64,
    "model.num_heads": 4,
    "model.num_kv_heads": 2,
    "model.rope_dims": 8,
    "schedule.max_wallclock_seconds": 0,
    "schedule.train_log_every": 0,
    "optimizer.muon_momentum_warmup_steps": 30,
    "optimizer.ema_decay": 0.95,
    "device.cpu_threads": 1,
    "quantization.gptq_calibration_batches": 16,
    "evaluation.ttt_batch_size": 8,
    "evaluation.phased_ttt_prefix_docs": 12,
}


def small_recipe(name: str, arguments: argparse.Namespace, seed: int) -> Recipe:
    """A recipe made narrow and short; what recipes differ in stays as it is."""
    dataset = find_datasets(arguments.data)[0]
    full = load_recipe(name, {}).recipe.evaluation
    rank, seq_len = full.ttt_lora_rank // RANKS, full.ttt_eval_seq_len // WINDOWS
    settings = SMALL | {
        "run.seed": seed,
        "run.data_path": str(dataset.folder.resolve()),
        "run.tokenizer_path": str(dataset.tokenizer),
        "schedule.iterations": arguments.steps,
        "evaluation.ttt_lora_rank": rank,
        "evaluation.ttt_lora_alpha": full.ttt_lora_alpha * rank / full.ttt_lora_rank,
        "evaluation.ttt_lora_lr": RATES * full.ttt_lora_lr,
        "evaluation.ttt_eval_seq_len": seq_len,
        "evaluation.global_ttt_chunk_tokens": 4 * seq_len,
    }
    return load_recipe(name, {path: (path, value) for path, value in settings.items()}).recipe


def scores_of(recipe: Recipe) -> dict[str, float]:
    """Bits per byte of one run in each form."""
    run = prepare_run(recipe, Path(__file__))
    training = begin_training(run)
    progress = train(training, lambda progress: None)
    windows = training_windows(recipe)
    scores = {"averaged": score_model(run, windows)[0].bits_per_byte}
    hessians = calibrate(run, training.batches(progress.step))
    stored = quantize_calibrated(run.model.state_dict(), hessians, recipe.quantization)
    run.model.load_state_dict(restore_calibrated(stored, recipe.quantization))
    scores["rounded"] = score_model(run, windows)[0].bits_per_byte
    learning = score_model(run, evaluation_windows(recipe), learns=True)
    return scores | {"learning": learning[0].bits_per_byte}


def compare(records: list[dict[str, object]], name: str, other: str) -> None:
    """Print how far a recipe is below another, form by form."""
    for form in FORMS:
        found = {(record["recipe"], record["seed"]): record[form] for record in records}
        seeds = [seed for recipe, seed in found if recipe == name and (other, seed) in found]
        gaps = [float(str(found[name, seed])) - float(str(found[other, seed])) for seed in seeds]
        if len(gaps) > 1:
            error = statistics.stdev(gaps) / len(gaps) ** 0.5
            reach = float(stats.t.ppf(0.975, len(gaps) - 1)) * error
            mean = statistics.fmean(gaps)
            print(f"{name} less {other}, {form}: {mean:+.4f} ± {reach:.4f} BPB ({len(gaps)} seeds)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of `pgolf-train data`")
    parser.add_argument("--recipes", default="best,pr1855,pr1886")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seeds", default="42,314,1337")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, added to")
    arguments = parser.parse_args()
    arguments.data, out = arguments.data.resolve(), arguments.out.resolve()
    trainer.quantization.rounding.MAX_KEPT_ELEMENTS = SMALLEST_ROUNDED
    os.chdir(tempfile.mkdtemp())  # for the runs' own logs
    seeds, names = map(int, arguments.seeds.split(",")), arguments.recipes.split(",")
    for seed, name in itertools.product(seeds, names):
        scores = scores_of(small_recipe(name, arguments, seed))
        record = {"recipe": name, "seed": seed, "steps": arguments.steps, **scores}
        with out.open("a") as file:
            file.write(json.dumps(record) + "\n")
    records = [json.loads(line) for line in out.read_text().splitlines()]
    for other in names[1:]:
        compare(records, names[0], other)


if __name__ == "__main__":
    main()
