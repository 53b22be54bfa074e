"""How far the bytes that are foretold are from those packed, over steps, clips, codecs and groups.

    python benchmarks/predicted_sizes.py --data DOCS8192 --steps 40,160,640

Trains pr1855 made narrow (288 channels, six layers), so many steps of 512 tokens each; stores it at
its clips times each factor, and packs it under both codecs. One JSON line a form: what the plan
says, what the first packing says of the next clips, and what was packed.
"""

import argparse
import json
import os
import sys
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trainer.artifact import pack_artifact  # noqa: E402
from trainer.data.data_folder import find_datasets  # noqa: E402
from trainer.phases.pack import calibrate  # noqa: E402
from trainer.phases.prepare import prepare_run  # noqa: E402
from trainer.phases.train import begin_training  # noqa: E402
from trainer.planning.artifact_size import group_of, predict_artifact  # noqa: E402
from trainer.quantization.calibrated_rounding import quantize_calibrated  # noqa: E402
from trainer.quantization.rounding import StoredTensor  # noqa: E402
from trainer.quantization.size_law import code_spreads, with_clips_times  # noqa: E402
from trainer.recipe import Recipe  # noqa: E402
from trainer.recipe_file import load_recipe  # noqa: E402
from trainer.training_loop import train  # noqa: E402

FACTORS = (1.0, 0.8, 1.25, 2.0)
PACKINGS = ("rans", "bytes")
NARROW: dict[str, object] = {
    "batch.train_batch_tokens": 512,
    "batch.train_seq_len": 128,
    "batch.micro_batches_per_step": 2,
    "batch.val_batch_size": 2048,
    "model.num_layers": 6,
    "model.model_dim": 288,
    "model.num_heads": 4,
    "model.num_kv_heads": 2,
    "model.xsa_last_n": 6,
    "model.parallel_start_layer": 4,
    "model.loop_start": 2,
    "model.loop_end": 3,
    "schedule.max_wallclock_seconds": 0,
    "schedule.warmup_steps": 0,
    "optimizer.muon_momentum_warmup_steps": 10,
    "optimizer.ema_decay": 0.9,
    "device.cpu_threads": 1,
    "quantization.gptq_calibration_batches": 16,
    "evaluation.ttt_eval_seq_len": 128,
}


def narrow_recipe(data: Path, steps: int) -> Recipe:
    """pr1855 made narrow and short."""
    dataset = find_datasets(data)[0]
    settings = NARROW | {
        "run.data_path": str(dataset.folder.resolve()),
        "run.tokenizer_path": str(dataset.tokenizer),
        "schedule.iterations": steps,
        "schedule.train_log_every": steps,
    }
    return load_recipe("pr1855", {path: (path, value) for path, value in settings.items()}).recipe


def tell_sizes(recipe: Recipe) -> None:
    """Train, and print a line a form."""
    run = prepare_run(recipe, Path(__file__))
    training = begin_training(run)
    progress = train(training, lambda progress: None)
    hessians = calibrate(run, training.batches(progress.step))
    state = run.model.state_dict()
    for packing in PACKINGS:
        options = replace(recipe.quantization, code_packing=packing)
        first, spreads = 0, None
        for factor in FACTORS:
            scaled = with_clips_times(options, factor)
            stored = quantize_calibrated(state, hessians, scaled)
            packed = pack_artifact(stored, scaled).num_bytes
            narrowed = replace(recipe, quantization=scaled)
            if factor == 1.0:
                first, spreads = packed, code_spreads(stored, scaled)
                print(json.dumps({"groups": groups_of(stored, narrowed)}))
            figures = {
                "steps": recipe.schedule.iterations,
                "packing": packing,
                "clips_times": factor,
                "plan": predict_artifact(narrowed).num_bytes,
                "from_the_first": first - round(spreads.saved_bytes(factor)),
                "packed": packed,
            }
            print(json.dumps(figures), flush=True)


def groups_of(stored: dict[str, StoredTensor], recipe: Recipe) -> dict[str, list[int]]:
    """What each group was foretold to take, and takes packed by itself."""
    plan = predict_artifact(recipe)
    parts: defaultdict[str, dict[str, StoredTensor]] = defaultdict(dict)
    for name, tensor in stored.items():
        parts["low-rank parts" if ":" in name else group_of(name)][name] = tensor
    return {
        group: [plan.groups[group].num_bytes, pack_artifact(part, recipe.quantization).num_bytes]
        for group, part in parts.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of `pgolf-train data`")
    parser.add_argument("--steps", default="40,160,640")
    arguments = parser.parse_args()
    data = arguments.data.resolve()
    os.chdir(tempfile.mkdtemp())  # for the runs' own logs
    for steps in map(int, arguments.steps.split(",")):
        tell_sizes(narrow_recipe(data, steps))


if __name__ == "__main__":
    main()
