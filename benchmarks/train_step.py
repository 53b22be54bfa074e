"""Milliseconds a training step: a recipe's bundled script beside a public one, on one GPU.

    python benchmarks/train_step.py --data data/demo --recipe baseline --public PATH/TO/train_gpt.py
    python benchmarks/train_step.py --data data/fineweb --recipe pr1855 --steps 40 --train-only \\
        --public PATH/TO/train_gpt.py --set schedule.enable_looping_at=0.5 --out step.json \\
        --ours plain:model.fused_ce_enabled=0,model.fused_mlp_enabled=0 --ours kernels

Runs one after the other on the same shards, one process, and reads all from their own logs: the
loss curves should lie on each other, and the medians can be compared, with loops and without. Only
the recipe's length, schedule and evaluation are shortened; the bundle is written for that, and the
public script is told by its public names what differs from the baseline. Times are differences
between log lines, so start and compilation are not in them. --train-only ends a script once its
training is over. Without --public, the recipe is timed alone. Beside --out each log grows while its
script runs, so a lease that ends early leaves what it had. PR 1855's script compiles eight graphs
to warm up, which takes it over nine minutes: schedule.warmup_steps=0 compiles what steps meet.
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
from threading import Timer
from typing import IO

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trainer.data.data_folder import find_datasets  # noqa: E402
from trainer.public_names import TRANSLATIONS, public_names  # noqa: E402
from trainer.recipe import Recipe, recipe_settings  # noqa: E402
from trainer.recipe_checks import build_recipe  # noqa: E402
from trainer.recipe_file import load_recipe  # noqa: E402
from trainer.submission_folder.bundle_script import bundle_script  # noqa: E402

# Step, loss, and how long all steps took or how many tokens there were a second (from #1218 on).
STEP = re.compile(
    r"^(?:step:)?(\d+)/\d+ train_loss: ?(\S+) train_time: ?[\d.]*?(?:(\d+)ms|m tok/s: (\d+))", re.M
)
LOOPS_BEGIN = re.compile(r"^layer_loop:enabled step:(\d+)", re.MULTILINE)
PEAK_MIB = re.compile(r"^peak memory allocated: (\d+) MiB", re.MULTILINE)
FINAL_BPB = re.compile(r"^final_\w*roundtrip_exact .*val_bpb:(\S+)", re.MULTILINE)
# How each script does what both do: with its own kernels and messages.
OWN_WAYS = ("model.fused_", "model.attention_backend", "optimizer.gradient_reduction")
INTERVALS = 10  # of a run; the first still holds allocations
RUN_SECONDS = 900


def shortened(recipe: Recipe, num_steps: int) -> Recipe:
    """The recipe without what is not timed."""
    return build_recipe(recipe_settings(recipe) | length_settings(num_steps))


def length_settings(num_steps: int) -> dict[str, object]:
    """So many steps, and an end that is soon over."""
    return {
        "schedule.iterations": num_steps,
        "schedule.max_wallclock_seconds": 0,
        "schedule.warmdown_iters": num_steps // 4,
        "schedule.train_log_every": num_steps // INTERVALS,
        "schedule.val_loss_every": 0,
        "schedule.reserve_seconds": 0,
        "schedule.clock": "loop",
        "quantization.compressor": "zlib",
        "evaluation.eval_stride": 0,
        "evaluation.ttt_enabled": False,
    }


def environment(recipe: Recipe, arguments: argparse.Namespace, name: str) -> dict[str, str]:
    """By public names, what tells the recipe from the baseline, and its length."""
    dataset = find_datasets(arguments.data)[0]
    settings, defaults = recipe_settings(recipe), recipe_settings(Recipe())
    told = {path for path, value in settings.items() if value != defaults[path]}
    told = {path for path in told if not path.startswith(OWN_WAYS)} | {*length_settings(1)}
    options = {
        name: str(int(settings[path]) if isinstance(settings[path], bool) else settings[path])
        for name, path in public_names(told).items()
        if name not in TRANSLATIONS
    }
    return options | {
        "DATA_PATH": str(dataset.folder.resolve()),
        "TOKENIZER_PATH": str((arguments.tokenizer or dataset.tokenizer).resolve()),
        "RUN_ID": name,
        "SEED": "1337",
    }


def run_script(script: Path, settings: dict[str, str], arguments: argparse.Namespace) -> str:
    """Everything that a script prints, or what it does until its training is over."""
    name = settings["RUN_ID"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1"]
    log = arguments.out.with_suffix(f".{name}.log") if arguments.out else Path(os.devnull)
    with tempfile.TemporaryDirectory(prefix="train_step_") as folder, log.open("w", 1) as copy:
        shutil.copy(script, Path(folder, "train_gpt.py"))
        process = subprocess.Popen(
            [*torchrun, "train_gpt.py"],
            cwd=folder,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        timer = Timer(RUN_SECONDS, process.kill)
        timer.start()
        printed = lines_of(process.stdout, copy, until=PEAK_MIB if arguments.train_only else None)
        is_over = arguments.train_only and PEAK_MIB.search(printed) is not None
        if is_over:
            process.terminate()  # torchrun ends the script's process in its turn
        process.stdout.close()
        code = process.wait()
        timer.cancel()
    if code and not is_over:
        sys.exit(f"{name} failed with exit code {code}:\n{printed[-3000:]}")
    return printed


def lines_of(stream: IO[str], copy: IO[str], until: re.Pattern[str] | None) -> str:
    """A stream's text to its end, or to the end of the line that matches; copied as it comes."""
    lines = []
    for line in stream:
        lines.append(line)
        copy.write(line)
        if until is not None and until.search(line):
            break
    return "".join(lines)


def summarise(log: str, tokens_per_step: int) -> dict[str, object]:
    """What a log says: milliseconds a step between log lines, losses, memory, score."""
    steps = []
    for step, loss, ms, rate in STEP.findall(log):
        steps.append((int(step), float(loss), float(ms or step_ms(step, rate, tokens_per_step))))
    begin = LOOPS_BEGIN.search(log)
    loops_begin = int(begin[1]) if begin else steps[-1][0]
    every = steps[-1][0] - steps[-2][0]  # of a log cut short, too
    regular = [one for one in steps if one[0] % every == 0]
    straight, looped = [], []
    for early, late in zip(regular[1:], regular[2:], strict=False):
        pace = (late[2] - early[2]) / (late[0] - early[0])
        if late[0] <= loops_begin:
            straight.append(pace)
        elif early[0] > loops_begin:  # the first looped interval waits for allocations too
            looped.append(pace)
    peak, final = PEAK_MIB.search(log), FINAL_BPB.search(log)
    return {
        **pace_figures("", straight, tokens_per_step),
        **pace_figures("looped_", looped, tokens_per_step),
        "peak_mib": int(peak[1]) if peak else None,
        "final_val_bpb": float(final[1]) if final else None,
        "losses": {step: loss for step, loss, _ in steps},
    }


def step_ms(step: str, tokens_per_second: str, tokens_per_step: int) -> float:
    """How long all steps took, from their mean rate."""
    return 1000 * int(step) * tokens_per_step / int(tokens_per_second)


def pace_figures(prefix: str, pace: list[float], tokens_per_step: int) -> dict[str, float]:
    """The median interval and its extremes; nothing of a log cut short before its second one."""
    if not pace:
        return {}
    median = statistics.median(pace)
    return {
        f"{prefix}ms_per_step_median": round(median, 2),
        f"{prefix}ms_per_step_min": round(min(pace), 2),
        f"{prefix}ms_per_step_max": round(max(pace), 2),
        f"{prefix}tokens_per_second": round(1000 * tokens_per_step / median),
    }


def print_side_by_side(results: dict[str, dict[str, object]]) -> None:
    first = next(iter(results.values()))
    for figure in (key for key in first if key != "losses"):
        row = "  ".join(f"{n}: {r.get(figure)!s:>12}" for n, r in results.items())
        print(f"{figure:26} {row}")
    for figure in (key for key in first if key.endswith("median")):
        row = "  ".join(
            f"{n}: {r[figure] / first[figure]:.3f}" for n, r in results.items() if figure in r
        )
        print(f"{figure + ', ratio':26} {row}")
    for step in sorted(first["losses"]):
        losses = (f"{n}: {r['losses'].get(step, float('nan')):8.4f}" for n, r in results.items())
        print(f"loss at step {step:<7} " + "  ".join(losses))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of `pgolf-train data`")
    parser.add_argument("--tokenizer", type=Path, help="default: the one that goes with the data")
    parser.add_argument("--recipe", default="baseline")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--public", type=Path, help="the public train_gpt.py")
    parser.add_argument("--ours", action="append", metavar="NAME[:KEY=VALUE,…]", help="forms of it")
    parser.add_argument("--steps", type=int, default=200, help="a multiple of ten, 40 at least")
    parser.add_argument("--train-only", action="store_true", help="end with the training loop")
    parser.add_argument("--out", type=Path, help="JSON; the logs are written beside it")
    arguments = parser.parse_args()
    changes = parsed(arguments.changes)
    told = shortened(load_recipe(arguments.recipe, changes).recipe, arguments.steps)
    runs: dict[str, tuple[Recipe, Path]] = {}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.public:
            runs["public"] = told, arguments.public
        for form in arguments.ours or ["ours"]:
            name, _, own = form.partition(":")
            own_changes = changes | parsed(own.split(",") if own else [])
            recipe = shortened(load_recipe(arguments.recipe, own_changes).recipe, arguments.steps)
            script = Path(folder, f"{name}.py")
            script.write_text(bundle_script(recipe_settings(recipe), arguments.recipe))
            runs[name] = recipe, script
        results = {
            name: summarise(
                run_script(script, environment(recipe, arguments, name), arguments),
                recipe.batch.train_batch_tokens,
            )
            for name, (recipe, script) in runs.items()
        }
    print_side_by_side(results)
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")


def parsed(pairs: list[str]) -> dict[str, tuple[str, str]]:
    """KEY=VALUE as `load_recipe` takes changes."""
    split = (pair.partition("=") for pair in pairs)
    return {key: ("--set", value) for key, _, value in split}


if __name__ == "__main__":
    main()
