"""The share of a training step that goes into communication, by the profiler, on many GPUs.

    torchrun --standalone --nproc_per_node=8 benchmarks/communication_share.py \\
        --data data/fineweb --recipe pr1855 --out share.jsonl

Times steps of the recipe as it is and with its gradients averaged in the other way, without the
profiler and then with it: a JSON object for each. `communication_ms` is the time in which a kernel
of NCCL ran, `exposed_ms` that in which nothing else did. Both are of the process that has least: a
kernel that waits for another process runs meanwhile. On CPUs (gloo), where communication has no
kernels, its calls are counted and overlap means nothing; that is a trial of the benchmark alone.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trainer.data.data_folder import find_datasets  # noqa: E402
from trainer.optimizer.schedules import Pace  # noqa: E402
from trainer.optimizer.stages import Stage  # noqa: E402
from trainer.phases.prepare import PreparedRun, prepare_run  # noqa: E402
from trainer.phases.train import begin_training  # noqa: E402
from trainer.process_group import leave_process_group  # noqa: E402
from trainer.recipe import Recipe, recipe_settings  # noqa: E402
from trainer.recipe_checks import build_recipe  # noqa: E402
from trainer.recipe_file import load_recipe  # noqa: E402
from trainer.training_loop import TrainingRun, take_step  # noqa: E402

WARM_UP_STEPS = 5
Interval = tuple[float, float]  # begin, end, microseconds


def recipe_of(arguments: argparse.Namespace) -> Recipe:
    """The recipe on its data, without a time limit."""
    dataset = find_datasets(arguments.data)[0]
    changes = {
        "run.data_path": str(dataset.folder),
        "run.tokenizer_path": str(dataset.tokenizer),
        "schedule.max_wallclock_seconds": "0",
    }
    changes |= dict(change.split("=", 1) for change in arguments.changes)
    origins = {path: ("--set", value) for path, value in changes.items()}
    return load_recipe(arguments.recipe, origins).recipe


def stepper(run: TrainingRun, *, has_loops: bool) -> Callable[[int], float]:
    """Takes so many steps; returns the milliseconds of each."""
    batches = run.batches()
    run.model.use_loops(wanted=has_loops)
    pace = Pace(momentum=0.95)
    stage = Stage(seq_len=run.recipe.batch.train_seq_len, has_loops=has_loops)

    def steps(number: int) -> float:
        run.group.barrier()
        run.group.synchronize()
        started = time.perf_counter()
        for _ in range(number):
            take_step(run, batches, 0, pace, stage)
        run.group.synchronize()
        return 1000 * (time.perf_counter() - started) / number

    return steps


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The same times without overlap."""
    merged: list[Interval] = []
    for begin, end in sorted(intervals):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def total_ms(intervals: Iterable[Interval]) -> float:
    return sum(end - begin for begin, end in intervals) / 1000


def communication(profiled: profile, num_steps: int) -> dict[str, object]:
    """What the profiler saw of one process, in milliseconds a step."""
    ours: list[Interval] = []
    others: list[Interval] = []
    by_kernel: defaultdict[str, float] = defaultdict(float)
    for event in profiled.events():
        interval = (event.time_range.start, event.time_range.end)
        if event.device_type == DeviceType.CUDA and "nccl" not in event.name.lower():
            others.append(interval)
        elif event.device_type == DeviceType.CUDA or event.name.startswith("gloo:"):
            ours.append(interval)
            by_kernel[event.name.partition("(")[0]] += total_ms([interval]) / num_steps
    ours, others = union(ours), union(others)
    overlap_ms = total_ms(ours) + total_ms(others) - total_ms(union(ours + others))
    return {
        "communication_ms": total_ms(ours) / num_steps,
        "exposed_ms": (total_ms(ours) - overlap_ms) / num_steps,
        "by_kernel_ms": {name: round(ms, 4) for name, ms in by_kernel.items()},
    }


def measure(prepared: PreparedRun, arguments: argparse.Namespace) -> dict[str, object]:
    """One form, alone and under the profiler."""
    group = prepared.group
    steps = stepper(begin_training(prepared), has_loops=arguments.loops)
    steps(WARM_UP_STEPS)
    ms_per_step = steps(arguments.steps)
    activities = [ProfilerActivity.CPU]
    if group.device.type == "cuda":
        activities = [ProfilerActivity.CUDA]
    with profile(activities=activities) as profiled:
        steps(arguments.steps)
    seen = communication(profiled, arguments.steps)
    least = {name: -group.largest(-seen[name]) for name in ("communication_ms", "exposed_ms")}
    return {
        "recipe": arguments.recipe,
        "processes": group.world_size,
        "gradient_reduction": prepared.recipe.optimizer.gradient_reduction,
        "looped": arguments.loops,
        "ms_per_step": round(ms_per_step, 3),
        **{name: round(ms, 4) for name, ms in least.items()},
        "share": round(least["communication_ms"] / ms_per_step, 5),
        "exposed_share": round(least["exposed_ms"] / ms_per_step, 5),
        "by_kernel_ms": seen["by_kernel_ms"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of `pgolf-train data`")
    parser.add_argument("--recipe", default="pr1855")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--loops", action="store_true", help="as after looping began")
    parser.add_argument("--out", type=Path, help="a line for each form; default: stdout alone")
    arguments = parser.parse_args()
    settings = recipe_settings(recipe_of(arguments))
    clips = {"optimizer.grad_clip": "global"}  # the only way that both forms can
    forms = [
        build_recipe(settings | clips | {"optimizer.gradient_reduction": form})
        for form in ("reduce_scatter", "all_reduce")
    ]
    prepared = prepare_run(forms[0], Path(__file__))
    for recipe in forms:
        line = json.dumps(measure(replace(prepared, recipe=recipe), arguments))
        if prepared.group.is_master:
            print(line, flush=True)
            if arguments.out:
                with arguments.out.open("a") as lines:
                    lines.write(line + "\n")
    leave_process_group()


if __name__ == "__main__":
    main()
