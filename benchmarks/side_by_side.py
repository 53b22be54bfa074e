"""The whole chain of #1855 beside the public script's own: one GPU, equal steps, equal text.

    python benchmarks/side_by_side.py prepare --data DOCS --out BOTH
    python benchmarks/side_by_side.py public train --data BOTH --work W --script train_gpt.py
    python benchmarks/side_by_side.py ours train --data BOTH --work W
    python benchmarks/side_by_side.py public learn --data BOTH --work W --script train_gpt.py
    python benchmarks/side_by_side.py ours learn --data BOTH --work W
    python benchmarks/side_by_side.py ours weights --data BOTH --work W
    python benchmarks/side_by_side.py table --work W

`train` trains in steps that are counted and not timed, averages the weights, rounds them and writes
the artifact, and scores the weights before and after; `learn` scores the artifact with test-time
training; `weights` writes what our artifact decodes to, flat and under the public names, so that a
copy of the public script that reads it scores the same weights. Both sides see the same micro-
batches in the same order and score the same rows, cut at the same places. Ours packs twice: with
the recipe's clips, as the public script does, which is what is scored; and fitted to the recipe's
total, to compare predicted with real bytes. A side's work lies in W/SIDE_SEED, its lines in
W/SIDE_SEED_PART.log, seconds since its start before each.

The public script runs as a process of its own, told by its own environment names; what has to be
changed in a copy of it (fewer shapes to compile) is for whoever runs this to say. The table reads
the logs and needs no GPU.
"""

import argparse
import math
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from learnt_scores import RENAMED
from train_step import STEP, summarise

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trainer.data.batches import document_boundaries, on_device  # noqa: E402
from trainer.data.byte_lengths import load_byte_table  # noqa: E402
from trainer.data.data_folder import find_datasets  # noqa: E402
from trainer.data.token_shards import read_shard, shard_paths, write_shard  # noqa: E402
from trainer.errors import RecipeError  # noqa: E402
from trainer.evaluation.bits_per_byte import load_validation_tokens, score_over  # noqa: E402
from trainer.evaluation.scoring import evaluation_windows  # noqa: E402
from trainer.phases.evaluate import load_artifact  # noqa: E402
from trainer.phases.pack import calibrate, packed_state  # noqa: E402
from trainer.phases.prepare import PreparedRun, prepare_run  # noqa: E402
from trainer.phases.score import score_model, scored_bytes  # noqa: E402
from trainer.phases.train import begin_training, log_peak_memory, log_training_setup  # noqa: E402
from trainer.public_names import TRANSLATIONS, public_names  # noqa: E402
from trainer.quantization.calibrated_rounding import Hessians  # noqa: E402
from trainer.recipe import BOS_ID, Recipe, recipe_settings  # noqa: E402
from trainer.recipe_file import load_recipe  # noqa: E402
from trainer.run_log import ARTIFACT_NAME  # noqa: E402
from trainer.training_loop import train, warm_up  # noqa: E402

# A step an eighth of the record's, all text read once; by steps, so that both take the same ones.
SHORTER = {
    "batch.train_batch_tokens": 98_304,
    "batch.val_batch_size": 131_072,
    "schedule.iterations": 220,
    "schedule.max_wallclock_seconds": 0,
    "schedule.reserve_seconds": 0,
    "schedule.clock": "loop",
    "schedule.warmup_steps": 1,
    "schedule.train_log_every": 22,
    "optimizer.ema_decay": 0.98,  # of 50 steps: the record's 285 would reach back to the start
    "evaluation.caseops_enabled": True,  # its script fails at its first score without a sidecar
    "evaluation.eval_seq_len": 2048,
    "evaluation.phased_ttt_num_phases": 0,
    "evaluation.phased_ttt_prefix_docs": 0,
}
# Lengths of documents, about as FineWeb's have with 8,192 words: median 600, mean 900.
MEDIAN_TOKENS, SIGMA, FEWEST_TOKENS, MOST_TOKENS = 600, 0.97, 32, 4096
DOCUMENTS_AT_ONCE = 64  # a last batch of fewer would be compiled anew by the public script
WEIGHTS_NAME = "weights_under_public_names.pt"
CODE_BYTES = 36_000  # of the recipe's packed script, which the total covers
READ_BY_SCRIPT = re.compile(r"environ\.get\(\s*\"(\w+)\"")
TOKENS_PER_STEP = re.compile(r"^ *train_batch_tokens: ?(\d+)", re.MULTILINE)
SO_FAR = re.compile(  # tokens and seconds of scoring, as either side says them on the way
    r"^(?:ttp: .* tok:|ttt:scored )(\d+)\S* .*?\b(?:t|seconds):([\d.]+)", re.MULTILINE
)
STAMPED = re.compile(r"^ *([\d.]+) (.*)$", re.MULTILINE)
FIGURES = {  # of the table: name → pattern of either side's lines
    "BPB before rounding": r"(?:^diagnostic pre-quantization|^unrounded) .*val_bpb:(\S+)",
    "BPB rounded, same clips": r"(?:^diagnostic quantized|^rounded) .*val_bpb:(\S+)",
    "BPB fitted to 16 MB": r"^fitted .*val_bpb:(\S+)",
    "BPB learning": r"^(?:quantized_ttt_phased|learnt) .*val_bpb:(\S+)",
    "artifact bytes, same clips": r"^(?:Serialized model quantized\+\w+|packed): (\d+)",
    "artifact bytes, fitted": r"^size_law:.* packed:(\d+)",
    "predicted for it": r"^size_law:.* predicted:(\d+)",
    "peak MiB": r"^peak memory allocated: (\d+)",
    "scored tokens": r"^val_(?:tokens: |loader:.*tokens:)(\d+)",
    "seconds of compiling": r"^ttt(?:_lora:compile warmup done \(|:compiled seconds:)([\d.]+)",
    "seconds of scoring": r"^(?:quantized_ttt_phased|learnt) .*eval_time:(\d+)ms",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """What runs, on what, and where its work lies."""

    name: str
    part: str
    data: Path
    work: Path
    recipe: Recipe

    @property
    def folder(self) -> Path:
        return self.work / f"{self.name}_{self.recipe.run.seed}"

    @property
    def log(self) -> Path:
        return self.work / f"{self.folder.name}_{self.part}.log"


def prepare(source: Path, out: Path, num_rows: int, row_tokens: int) -> None:
    """A data folder that both sides read: training shards as they are, a short text to score.

    That text is the source's validation tokens as they come, with more documents in it: the first
    token of a piece is put in place of the token that stood there. Its sidecar says what each token
    stands for, a beginning for nothing.
    """
    [dataset] = find_datasets(source)
    folder, tokenizers = out / "datasets" / dataset.name, out / "tokenizers"
    for path in (folder, tokenizers):
        path.mkdir(parents=True)
    for path in shard_paths(dataset.folder, "train"):
        (folder / path.name).symlink_to(path.resolve())
    assert dataset.tokenizer is not None
    (tokenizers / dataset.tokenizer.name).symlink_to(dataset.tokenizer.resolve())
    text = np.concatenate([read_shard(path) for path in shard_paths(dataset.folder, "val")])
    tokens = text[: num_rows * row_tokens + 1].copy()
    assert tokens.size == num_rows * row_tokens + 1, f"{source}: {text.size} tokens are too few"
    starts = document_starts(np.flatnonzero(tokens[:-1] == BOS_ID), tokens.size - 1)
    tokens[starts] = BOS_ID
    table = load_byte_table(dataset.tokenizer, 8192)
    spaces = table.has_leading_space[tokens[1:]] & ~table.is_boundary[tokens[:-1]]
    sizes = table.base_bytes[tokens].astype(np.int64)
    sizes[1:] += spaces
    write_shard(folder / "fineweb_val_000000.bin", tokens)
    write_shard(folder / "fineweb_val_bytes_000000.bin", sizes)
    lengths = np.diff(np.append(starts, tokens.size - 1))
    print(
        f"{starts.size} documents, {tokens.size - 1} tokens, {sizes[1:].sum()} bytes; "
        f"lengths {np.percentile(lengths, [0, 10, 50, 90, 100]).astype(int).tolist()}"
    )


def document_starts(natural: np.ndarray, num_tokens: int) -> np.ndarray:
    """Where documents begin: where they did, and so often in between that lengths are FineWeb's.

    Their number divides into whole batches: the shortest that can be are joined to a neighbour.
    """
    random = np.random.default_rng(0)
    drawn = random.lognormal(math.log(MEDIAN_TOKENS), SIGMA, num_tokens // 64)
    pieces = np.cumsum(np.clip(drawn, FEWEST_TOKENS, MOST_TOKENS).astype(np.int64))
    starts = np.union1d(np.append(natural, 0), pieces[pieces < num_tokens])
    lengths = np.diff(np.append(starts, num_tokens))
    while starts.size % DOCUMENTS_AT_ONCE or lengths.min() < FEWEST_TOKENS:
        shorter = np.minimum(lengths[:-1], lengths[1:]) + num_tokens * np.isin(starts[1:], natural)
        starts = np.delete(starts, 1 + int(shorter.argmin()))
        lengths = np.diff(np.append(starts, num_tokens))
    return starts


def public_environment(side: Side, script: Path) -> dict[str, str]:
    """Every setting of the recipe that the script reads, by the name under which it does."""
    settings, read = recipe_settings(side.recipe), set(READ_BY_SCRIPT.findall(script.read_text()))
    told = {
        name: str(int(settings[path]) if isinstance(settings[path], bool) else settings[path])
        for name, path in public_names().items()
        if name in read and name not in TRANSLATIONS
    }
    return told | {
        "TTT_ENABLED": str(int(side.part == "learn")),
        "TTT_EVAL_ONLY": str(int(side.part == "learn")),
        "VAL_LOSS_EVERY": "0",
        "PYTHONUNBUFFERED": "1",
    }


def run_public(side: Side, script: Path) -> int:
    """Run the script in its folder and note when it prints what; returns its exit code."""
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1"]
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command, str(script.resolve())],
        cwd=side.folder,
        env=os.environ | public_environment(side, script),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    with side.log.open("w") as log:
        for line in process.stdout:
            print(f"{time.perf_counter() - started:8.2f} {line}", end="", file=log, flush=True)
    return process.wait()


class StampedLog:
    """Our own lines, as `run_public` notes the public script's."""

    def __init__(self, path: Path) -> None:
        self.file, self.started = path.open("w"), time.perf_counter()

    def write(self, text: str) -> None:
        """What `print` hands over: a line, then its end."""
        if text.strip():
            seconds = time.perf_counter() - self.started
            self.file.write(f"{seconds:8.2f} {text.rstrip()}\n")
            self.file.flush()

    def flush(self) -> None:
        self.file.flush()


def run_ours(side: Side) -> None:
    """The same with our functions, in this process."""
    log = side.log.resolve()
    os.chdir(side.folder)
    sys.stdout = StampedLog(log)
    run = prepare_run(side.recipe, Path(__file__).resolve())
    {"train": train_ours, "learn": learn_ours, "weights": write_weights}[side.part](run)


def train_ours(run: PreparedRun) -> None:
    """Train, round, write the artifact, and score the weights at each stage."""
    training = begin_training(run)
    log_training_setup(training)
    with run.log.phase("warm_up"):
        warm_up(training)
    with run.log.phase("training"):
        progress = train(training, lambda _: None)
    with run.log.phase("calibration"):
        hessians = calibrate(run, training.batches(progress.step))
    log_peak_memory(run.log, run.group)
    del training  # the optimizers' state
    say_score(run, "unrounded")
    trained = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    same_clips = replace(run.recipe.quantization, fit_total_bytes=0)
    own = replace(run, recipe=replace(run.recipe, quantization=same_clips))
    compared = pack_ours(own, hessians, "rounded")
    run.log.write(f"packed: {len(compared)}")
    run.model.load_state_dict(trained)
    try:
        pack_ours(run, hessians, "fitted")
    except RecipeError as error:  # weights of few steps may be too small for the total
        run.log.write(f"not fitted: {error}")
    Path(ARTIFACT_NAME).write_bytes(compared)


def pack_ours(run: PreparedRun, hessians: Hessians, label: str) -> bytes:
    """Write the model as an artifact and score what can be read back of it."""
    with run.log.phase(f"packing_{label}"):
        compressed = packed_state(run, hessians, code_bytes=CODE_BYTES).compressed
        Path(ARTIFACT_NAME).write_bytes(compressed)
    load_artifact(run.model, run.recipe.quantization)
    say_score(run, label)
    return compressed


@torch.inference_mode()
def say_score(run: PreparedRun, label: str) -> None:
    """Score the whole text in rows like training's, not compiled, as the public script scores."""
    recipe, device, started = run.recipe, run.group.device, time.perf_counter()
    longest = recipe.batch.train_seq_len
    row_tokens = recipe.batch.val_batch_size // recipe.batch.micro_batches_per_step
    tokens = load_validation_tokens(recipe.run.data_path, row_tokens)
    run.model.use_positions(row_tokens, longest)
    run.model.eval()
    losses = []
    for start in range(0, tokens.size - 1, row_tokens):
        ids = tokens[None, start : start + row_tokens + 1].astype(np.int64)
        begins = on_device(document_boundaries(ids[:, :-1], longest), device)
        row = on_device(ids, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            losses.append(run.model(row[:, :-1], row[:, 1:], boundaries=begins))
    score = score_over(torch.cat(losses), scored_bytes(recipe, tokens))
    run.model.use_positions(recipe.batch.row_tokens, longest)
    run.model.train()
    seconds = time.perf_counter() - started
    run.log.write(
        f"{label} val_loss:{score.loss_nats:.8f} val_bpb:{score.bits_per_byte:.8f} "
        f"eval_time:{1000 * seconds:.0f}ms"
    )


def learn_ours(run: PreparedRun) -> None:
    """Score the artifact while it learns."""
    options = replace(run.recipe.quantization, fit_total_bytes=0)
    load_artifact(run.model, options)
    started = time.perf_counter()
    score, _ = score_model(run, evaluation_windows(run.recipe), learns=True)
    run.log.write(
        f"learnt val_loss:{score.loss_nats:.8f} val_bpb:{score.bits_per_byte:.8f} "
        f"eval_time:{1000 * (time.perf_counter() - started):.0f}ms"
    )
    log_peak_memory(run.log, run.group)


def write_weights(run: PreparedRun) -> None:
    """What our artifact decodes to, where #1855's script has one matrix a layer as ours has."""
    load_artifact(run.model, replace(run.recipe.quantization, fit_total_bytes=0))
    public = {own: name for name, own in RENAMED.items()}
    weights = {public.get(n, n): p.detach().cpu() for n, p in run.model.named_parameters()}
    torch.save(weights, WEIGHTS_NAME)


def print_table(work: Path) -> None:
    """What the logs of all sides and seeds say, a column each."""
    columns = {}
    for name in sorted({log.stem.rpartition("_")[0] for log in work.glob("*_*_*.log")}):
        columns[name] = figures_of(work, name)
    names = dict.fromkeys(figure for column in columns.values() for figure in column)
    print(f"{'':38}" + "".join(f"{name:>16}" for name in columns))
    for figure in names:
        told = (column.get(figure, "") for column in columns.values())
        print(f"{figure:38}" + "".join(f"{value!s:>16}" for value in told))


def figures_of(work: Path, name: str) -> dict[str, float]:
    """A side's figures, those of what it has not done left out."""
    trained, learnt = (stamped(work / f"{name}_{part}.log") for part in ("train", "learn"))
    figures: dict[str, float] = {}
    for figure, pattern in FIGURES.items():
        if found := re.search(pattern, f"{trained}\n{learnt}", re.MULTILINE):
            figures[figure] = float(found[1]) if "BPB" in figure else round(float(found[1]))
    tokens_per_step = TOKENS_PER_STEP.search(trained)
    if tokens_per_step and STEP.search(trained):
        steps = summarise(trained, int(tokens_per_step[1]))
        figures |= {key: float(str(value)) for key, value in steps.items() if "ms_per_step" in key}
    if "seconds of scoring" in figures:
        figures |= pace_of_learning(figures, is_compiling_counted=name.startswith("ours"))
    elif so_far := SO_FAR.findall(learnt):
        tokens, seconds = so_far[-1]
        figures["scored tokens/s until it was cut off"] = round(int(tokens) / float(seconds))
    for part in ("train", "learn"):
        if stamps := STAMPED.findall(text_of(work / f"{name}_{part}.log")):
            figures[f"seconds of all, {part}"] = round(float(stamps[-1][0]))
    return figures


def pace_of_learning(figures: dict[str, float], *, is_compiling_counted: bool) -> dict[str, float]:
    """Scored tokens a second, without the seconds of compiling and with them."""
    tokens, compiling = figures["scored tokens"], figures["seconds of compiling"]
    seconds = figures["seconds of scoring"] / 1000 - compiling * is_compiling_counted
    return {
        "seconds of scoring": round(seconds, 1),
        "scored tokens/s": round(tokens / seconds),
        "scored tokens/s, compiling too": round(tokens / (seconds + compiling)),
    }


def stamped(log: Path) -> str:
    """A log's lines without their seconds."""
    return "\n".join(line for _, line in STAMPED.findall(text_of(log)))


def text_of(log: Path) -> str:
    return log.read_text() if log.exists() else ""


def side_of(arguments: argparse.Namespace) -> Side:
    """What the command line says."""
    [dataset] = find_datasets(arguments.data.resolve())
    changes = {path: ("--set", str(value)) for path, value in SHORTER.items()}
    changes |= {
        "run.data_path": ("--data", str(dataset.folder)),
        "run.tokenizer_path": ("--data", str(dataset.tokenizer)),
        "run.seed": ("--seed", str(arguments.seed)),
    }
    for pair in arguments.changes:
        path, _, value = pair.partition("=")
        changes[path] = ("--set", value)
    side = Side(
        name=arguments.side,
        part=arguments.part,
        data=arguments.data,
        work=arguments.work.resolve(),
        recipe=load_recipe(arguments.recipe, changes).recipe,
    )
    side.folder.mkdir(parents=True, exist_ok=True)
    return side


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("side", choices=("prepare", "public", "ours", "table"))
    parser.add_argument("part", nargs="?", choices=("train", "learn", "weights"))
    parser.add_argument("--data", type=Path, help="folder of `pgolf-train data`, or of prepare")
    parser.add_argument("--out", type=Path, help="of prepare: the folder that both sides read")
    parser.add_argument("--rows", type=int, default=40, help="of prepare: rows to score")
    parser.add_argument("--row-tokens", type=int, default=16_384, help="of prepare")
    parser.add_argument("--work", type=Path, help="folder of all logs and artifacts")
    parser.add_argument("--script", type=Path, help="the public train_gpt.py")
    parser.add_argument("--recipe", default="pr1855")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    if arguments.side == "prepare":
        prepare(arguments.data, arguments.out, arguments.rows, arguments.row_tokens)
    elif arguments.side == "table":
        print_table(arguments.work)
    elif arguments.side == "public":
        return run_public(side_of(arguments), arguments.script)
    else:
        run_ours(side_of(arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
