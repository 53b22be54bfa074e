"""Whether sequences that grow while training pay, at equal tokens and at equal processor time.

    python benchmarks/length_curriculum.py --data DOCS --out lengths.jsonl

Trains a small model under every schedule of lengths, from the same weights over the same tokens,
and scores it unrounded in the longest sequences. At equal tokens all take equally many steps. At
equal time each takes as many as the longest sequences' steps leave room for: what a step costs at
a length is timed first, in seconds of the processor, which others on the machine hardly change.
One JSON line a score, written as soon as it is known.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trainer.data.byte_lengths import load_byte_table  # noqa: E402
from trainer.data.data_folder import find_datasets  # noqa: E402
from trainer.evaluation.bits_per_byte import bits_per_byte, load_validation_tokens  # noqa: E402
from trainer.evaluation.scoring import score_tokens, training_windows  # noqa: E402
from trainer.optimizer.schedules import Pace  # noqa: E402
from trainer.optimizer.stages import Stage  # noqa: E402
from trainer.phases.prepare import prepare_run  # noqa: E402
from trainer.phases.train import begin_training  # noqa: E402
from trainer.recipe import LengthPhase, Recipe  # noqa: E402
from trainer.recipe_checks import build_recipe  # noqa: E402
from trainer.training_loop import take_step, train  # noqa: E402

LONGEST = 768
# #2014's lengths and shares at a quarter of the size, with its new start of learning rates and
# without; and one length all the time. Ends are shares of the time.
GROWING = "256, 512, 768"
SCHEDULES = {
    "768": ("768@1", 0),
    GROWING: ("256@0.1,512@0.7,768@1", 0),
    "256, 512, 768, rates anew": ("256@0.1,512@0.7,768@1", 4),
}
TIMED_STEPS = 12
TOKENS_PER_STEP = 4 * LONGEST
SCORED_TOKENS = 160 * LONGEST


def recipe_for(arguments: argparse.Namespace, num_steps: int, seed: int) -> Recipe:
    """The small model, with one length."""
    dataset = find_datasets(arguments.data)[0]
    return build_recipe(
        {
            "run.seed": seed,
            "run.data_path": str(dataset.folder.resolve()),
            "run.tokenizer_path": str(dataset.tokenizer.resolve()),
            "device.cpu_threads": 1,
            "batch.train_batch_tokens": TOKENS_PER_STEP,
            "batch.train_seq_len": LONGEST,
            "batch.micro_batches_per_step": 1,
            "batch.val_batch_size": 16 * LONGEST,
            "batch.pack_documents": arguments.packed,
            "model.vocab_size": 1024,
            "model.num_layers": 2,
            "model.model_dim": 64,
            "model.num_heads": 2,
            "model.num_kv_heads": 1,
            "schedule.iterations": num_steps,
            "schedule.max_wallclock_seconds": 0,
            "schedule.warmdown_frac": 0.67,
            "schedule.train_log_every": 0,
        }
    )


def seconds_of_steps(arguments: argparse.Namespace) -> dict[int, float]:
    """What a step costs at each length: the median, of the processor's time."""
    run = begin_training(prepare_run(recipe_for(arguments, 1, 0), Path(__file__)))
    batches, pace = run.batches(), Pace(momentum=0.95)
    lengths = sorted({phase.seq_len for name in SCHEDULES for phase in phases_of(name)})
    seen: dict[int, list[float]] = {seq_len: [] for seq_len in lengths}
    for _, seq_len in itertools.product(range(TIMED_STEPS), lengths):
        begin = time.process_time()
        take_step(run, batches, 0, pace, Stage(seq_len=seq_len, has_loops=False))
        seen[seq_len].append(time.process_time() - begin)
    return {seq_len: statistics.median(seconds) for seq_len, seconds in seen.items()}


def phases_of(name: str) -> tuple[LengthPhase, ...]:
    schedule = replace(Recipe().schedule, train_seq_schedule=SCHEDULES[name][0])
    return replace(Recipe(), schedule=schedule).length_phases


def planned(name: str, num_steps: int, costs: dict[int, float]) -> tuple[int, str]:
    """Steps in the time of so many of the longest, and the schedule by shares of these steps."""
    phases, budget = phases_of(name), num_steps * costs[LONGEST]
    begins = [0.0, *(phase.end for phase in phases)]
    steps = [
        budget * (phase.end - begin) / costs[phase.seq_len]
        for begin, phase in zip(begins, phases, strict=False)
    ]
    ends = [total / sum(steps) for total in itertools.accumulate(steps)]
    ends[-1] = 1.0
    words = [f"{phase.seq_len}@{end:.5f}" for phase, end in zip(phases, ends, strict=True)]
    return round(sum(steps)), ",".join(words)


def score_of(
    arguments: argparse.Namespace, name: str, num_steps: int, schedule: str, seed: int
) -> dict[str, object]:
    """One run and its score."""
    recipe = recipe_for(arguments, num_steps, seed)
    growing = replace(
        recipe.schedule,
        train_seq_schedule=schedule,
        seq_change_warmup_steps=SCHEDULES[name][1],
    )
    run = prepare_run(replace(recipe, schedule=growing), Path(__file__))
    begin = time.process_time()
    train(begin_training(run), lambda progress: None)
    seconds = time.process_time() - begin
    tokens = load_validation_tokens(recipe.run.data_path, LONGEST)[: SCORED_TOKENS + 1]
    losses = score_tokens(run.forward, tokens, training_windows(run.recipe), run.group)
    table = load_byte_table(recipe.run.tokenizer_path, recipe.model.vocab_size)
    return {
        "lengths": name,
        "schedule": schedule,
        "seed": seed,
        "steps": num_steps,
        "tokens": num_steps * TOKENS_PER_STEP,
        "processor_seconds": round(seconds, 1),
        "val_bpb": bits_per_byte(losses, tokens, table).bits_per_byte,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=500, help="in the longest sequences")
    parser.add_argument("--seeds", default="42,314,1337")
    parser.add_argument("--only", default="", help="part of the schedules' names")
    parser.add_argument("--packed", action="store_true", help="attention within documents alone")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.data, out = arguments.data.resolve(), arguments.out.resolve()
    os.chdir(tempfile.mkdtemp())  # for the runs' own logs
    costs = seconds_of_steps(arguments)
    even = dict.fromkeys(costs, 1.0)
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    for seed, (equal, costing), name in itertools.product(
        seeds, (("tokens", even), ("time", costs)), SCHEDULES
    ):
        is_wanted = name == "768" or arguments.only in name
        if is_wanted and (equal == "tokens" or name == GROWING):
            record = score_of(arguments, name, *planned(name, arguments.steps, costing), seed)
            record |= {"equal": equal, "packed": arguments.packed, "step_seconds": costs}
            with out.open("a") as file:
                file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
