"""What warm-down costs or saves when weights are stored in few bits, on one GPU or a CPU.

    python benchmarks/quantization_sweep.py --recipe baseline --data data/docs --iterations 1000 \
        --train-batch-tokens 131072 --warmdown-ratios 0.1,0.3,1,1.64,2.5 --out sweep.jsonl

Trains the recipe once a warm-down setting (as a share of the iterations; above 1 the rate decays
from the first step on), always from the same weights over the same tokens, and scores each result
from memory: unrounded, in 8 and 6 bits, with and without an fp16 embedding, at several lengths
(NTK-scaled positions). One JSON line a score, written as soon as it is known.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trainer.artifact import pack_artifact  # noqa: E402
from trainer.data.byte_lengths import load_byte_table  # noqa: E402
from trainer.data.data_folder import find_datasets  # noqa: E402
from trainer.evaluation.bits_per_byte import bits_per_byte, load_validation_tokens  # noqa: E402
from trainer.evaluation.scoring import Windows, score_tokens  # noqa: E402
from trainer.phases.prepare import PreparedRun, prepare_run  # noqa: E402
from trainer.phases.train import begin_training  # noqa: E402
from trainer.quantization.rounding import dequantize_state, quantize_state  # noqa: E402
from trainer.recipe import QuantizationOptions, Recipe  # noqa: E402
from trainer.recipe_file import load_recipe  # noqa: E402
from trainer.training_loop import train, warm_up  # noqa: E402

FORMS = {
    "int8": QuantizationOptions(),
    "int8_fp16_embedding": QuantizationOptions(fp16_passthrough_patterns="tok_emb"),
    "int6": QuantizationOptions(matrix_bits=6),
    "int6_fp16_embedding": QuantizationOptions(matrix_bits=6, fp16_passthrough_patterns="tok_emb"),
}
LENGTH_FORMS = ("raw", "int8_fp16_embedding")  # scored at every length, the others at the first


def sweep_recipe(arguments: argparse.Namespace) -> Recipe:
    """The recipe with the sweep's own settings."""
    dataset = find_datasets(arguments.data)[0]
    tokenizer = arguments.tokenizer or dataset.tokenizer
    changes = {
        "ITERATIONS": arguments.iterations,
        "TRAIN_BATCH_TOKENS": arguments.train_batch_tokens,
        "MICRO_BATCHES_PER_STEP": arguments.micro_batches,
        "MAX_WALLCLOCK_SECONDS": 0,
        "WARMUP_STEPS": 3,
        "TRAIN_LOG_EVERY": 100,
        "DATA_PATH": str(dataset.folder.resolve()),
        "TOKENIZER_PATH": str(tokenizer.resolve()),
    }
    for change in arguments.set:
        key, _, value = change.partition("=")
        changes[key] = value
    origin = {name: ("the sweep", value) for name, value in changes.items()}
    recipe = load_recipe(arguments.recipe, origin).recipe
    model = replace(recipe.model, rope_train_seq_len=recipe.batch.train_seq_len)
    return replace(recipe, model=model)


def train_settings(
    run: PreparedRun, ratios: list[float]
) -> Iterator[tuple[int, float, dict[str, torch.Tensor]]]:
    """Warm-down iterations, seconds of training and the weights, one setting after the other."""
    initial = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    for index, ratio in enumerate(ratios):
        warmdown_iters = round(ratio * run.recipe.schedule.iterations)
        schedule = replace(run.recipe.schedule, warmdown_iters=warmdown_iters)
        run.model.load_state_dict(initial)
        training = replace(begin_training(run), recipe=replace(run.recipe, schedule=schedule))
        if index == 0:
            warm_up(training)
        progress = train(training, lambda progress: None)
        weights = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
        yield warmdown_iters, progress.train_seconds, weights


def scores(
    run: PreparedRun, weights: dict[str, torch.Tensor], arguments: argparse.Namespace
) -> Iterator[dict[str, object]]:
    """Every stored form of these weights, at every length that is asked for."""
    train_seq_len = run.recipe.batch.train_seq_len
    lengths = [round(float(word) * train_seq_len) for word in arguments.lengths.split(",")]
    for form in ("raw", *FORMS):
        record: dict[str, object] = {"form": form}
        restored = weights
        if form != "raw":
            stored = quantize_state(weights, FORMS[form])
            if not arguments.no_bytes:
                packed = pack_artifact(stored, FORMS[form])
                record["artifact_bytes_zlib"] = len(packed.compressed)
            restored = dequantize_state(stored)
        run.model.load_state_dict(restored)
        for length in lengths if form in LENGTH_FORMS else lengths[:1]:
            yield record | score_at(run, length, arguments)


def score_at(run: PreparedRun, seq_len: int, arguments: argparse.Namespace) -> dict[str, object]:
    """The score of the model as it is, in sequences of one length that do not overlap."""
    recipe = run.recipe
    tokens = load_validation_tokens(recipe.run.data_path, seq_len)[: arguments.val_tokens + 1]
    windows = Windows(seq_len=seq_len, stride=seq_len, batch_size=max(65_536 // seq_len, 1))
    started = time.perf_counter()
    run.model.use_positions(seq_len)
    run.model.eval()
    losses = score_tokens(run.forward, tokens, windows, run.group)
    run.model.use_positions(recipe.batch.train_seq_len)
    run.model.train()
    table = load_byte_table(recipe.run.tokenizer_path, recipe.model.vocab_size)
    score = bits_per_byte(losses, tokens, table)
    return {
        "eval_seq_len": seq_len,
        "val_loss": score.loss_nats,
        "val_bpb": score.bits_per_byte,
        "val_tokens": score.num_tokens,
        "eval_seconds": round(time.perf_counter() - started, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="baseline")
    parser.add_argument("--data", type=Path, required=True, help="folder of `pgolf-train data`")
    parser.add_argument("--tokenizer", type=Path, help="default: the one that goes with the data")
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--train-batch-tokens", type=int, default=131_072)
    parser.add_argument("--micro-batches", type=int, default=1, help="a step, one after the other")
    parser.add_argument("--warmdown-ratios", default="0.1,0.3,1,1.64,2.5", help="of the iterations")
    parser.add_argument("--lengths", default="1,1.375,2", help="of the training length")
    parser.add_argument("--val-tokens", type=int, default=4_194_304, help="at most so many")
    parser.add_argument("--no-bytes", action="store_true", help="leave out artifacts' sizes")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, added to")
    arguments = parser.parse_args()
    arguments.out = arguments.out.resolve()
    recipe = sweep_recipe(arguments)
    torch._dynamo.config.recompile_limit = 64  # one a length and a mode
    with tempfile.TemporaryDirectory(prefix="quantization_sweep_") as folder:
        script = Path(__file__).resolve()
        os.chdir(folder)  # logs are of no use here
        run = prepare_run(recipe, script)
        ratios = [float(word) for word in arguments.warmdown_ratios.split(",")]
        for warmdown_iters, train_seconds, weights in train_settings(run, ratios):
            common = {
                "recipe": arguments.recipe,
                "iterations": arguments.iterations,
                "train_batch_tokens": arguments.train_batch_tokens,
                "warmdown_iters": warmdown_iters,
                "train_seconds": round(train_seconds, 1),
            }
            for record in scores(run, weights, arguments):
                line = json.dumps(common | record)
                print(line, flush=True)
                with arguments.out.open("a") as file:
                    print(line, file=file)
        os.chdir(arguments.out.parent)


if __name__ == "__main__":
    main()
