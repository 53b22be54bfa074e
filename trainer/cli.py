"""`pgolf-train`: with `command_group`, all that prints, exits and reads the environment."""

import os
import shutil
import signal
import sys
import textwrap
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from trainer.command_group import RecipeIsACommand, recipe_completions
from trainer.errors import RecipeError, StoppedError, TrainerError

if TYPE_CHECKING:
    from trainer.pipeline import SubmissionRequest
    from trainer.recipe_file import ResolvedRecipe
    from trainer.submission_folder.seed_results import SeedResult

MAX_SEED = 2**31 - 1


class TrainOptions(TypedDict):
    """The command line of `pgolf-train RECIPE`."""

    recipe: str
    seeds: str | None
    gpus: int | None
    changes: tuple[str, ...]
    replay: str | None
    clock: str | None
    data: Path | None
    out: Path | None
    overwrite: bool
    resume: bool
    stop_after: float | None
    packed: bool
    untrained: bool
    author: str
    github_id: str
    quiet: bool


EXIT_CODES = """
Exit codes: 0 done; 2 the command, recipe, data or folder cannot be used; 4 a training process
failed or the disk refused; 75 paused by --stop-after, to go on with --resume; 130 stopped; 141 the
reader of the output went away.
"""


@click.group(
    cls=RecipeIsACommand,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="pgolf")
def cli() -> None:
    """Train a submission of Parameter Golf, and write its folder.

    \b
    pgolf-train RECIPE          train, pack, evaluate, write the submission's folder
    pgolf-train recipes         the recipes that come with it
    pgolf-train plan RECIPE     sizes and arithmetic, without training
    pgolf-train data …          published shards, or shards from your own documents

    RECIPE is a name or the path of a YAML file. `pgolf-train train --help` lists its options.
    """  # noqa: D301 (click wants the \b)


recipe_argument = click.argument("recipe", metavar="RECIPE", shell_complete=recipe_completions)
set_option = click.option(
    "--set",
    "changes",
    metavar="KEY=VALUE",
    multiple=True,
    help="Change an option: model.num_layers=11 or NUM_LAYERS=11. Also by environment variable.",
)
replay_option = click.option(
    "--replay",
    metavar="COMMAND",
    help="Change what a public command line sets: 'WARMDOWN_ITERS=3600 torchrun … train_gpt.py'.",
)
clock_option = click.option(
    "--clock",
    type=click.Choice(["loop", "loop_plus_calibration", "everything"]),
    help="What the time limit covers: short for --set schedule.clock=….",
)


@cli.command(hidden=True)
@recipe_argument
@click.option("--seeds", metavar="42,314,…", help="One run each; default: the recipe's seed.")
@click.option("--gpus", type=click.IntRange(1), help="Processes of torchrun; default: no torchrun.")
@set_option
@replay_option
@clock_option
@click.option("--data", type=click.Path(path_type=Path), help="Folder of `pgolf-train data`.")
@click.option("--out", type=click.Path(path_type=Path), help="Default: submissions/RECIPE.")
@click.option("--overwrite", is_flag=True, help="Replace the submission in --out.")
@click.option("--resume", is_flag=True, help="Run only the seeds that --out lacks.")
@click.option(
    "--stop-after",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Pause then, with a checkpoint: --resume goes on. Needs schedule.checkpoint_every.",
)
@click.option("--packed", is_flag=True, help="Compress the script; readable source beside it.")
@click.option("--untrained", is_flag=True, help="Write the folder, run nothing, claim nothing.")
@click.option("--author", default="unknown", show_default=True, help="For submission.json.")
@click.option("--github-id", default="unknown", show_default=True, help="For submission.json.")
@click.option("-q", "--quiet", is_flag=True, help="No progress; the results alone.")
def train(**options: Unpack[TrainOptions]) -> None:
    """Train RECIPE, pack, evaluate, write the submission's folder.

    \b
    Examples:
      pgolf-train demo --data data/demo --seeds 42,314,1337 --out submissions/mine
      pgolf-train my_recipe.yaml --gpus 8 --data data/fineweb --set optimizer.matrix_lr=0.025
      pgolf-train pr61_v2 --replay 'WARMDOWN_ITERS=3600 torchrun --nproc_per_node=8 train_gpt.py'
      pgolf-train baseline --data data/fineweb --resume      # after Ctrl-C: finished seeds are kept
    """  # noqa: D301 (click wants the \b)
    request = submission_request(options)
    from trainer.pipeline import make_submission, make_untrained
    from trainer.planning.model_plan import training_flops_per_token
    from trainer.training_display import ProgressConsole, TrainingDisplay, Workload

    if options["untrained"]:
        make_untrained(request, warn_on_stderr)
        click.echo(f"written, not run: {request.folder.folder}")
        return
    recipe = request.folder.resolved.recipe
    workload = Workload(
        tokens_per_step=recipe.batch.train_batch_tokens,
        flops_per_token=training_flops_per_token(recipe.model, recipe.batch.train_seq_len),
    )
    try:
        console = ProgressConsole(stderr=True, quiet=options["quiet"])
        with TrainingDisplay(request.seeds, workload, console) as display:
            results = make_submission(request, display, warn_on_stderr)
    except KeyboardInterrupt:
        raise StoppedError(
            f"stopped; finished seeds, artifacts and checkpoints are kept in "
            f"{request.folder.folder}: "
            "the same command with --resume, and without --overwrite, goes on from them"
        ) from None
    click.echo(results_table(results))
    click.echo(f"written: {request.folder.folder}")


def warn_on_stderr(message: str) -> None:
    """Say what will most likely go wrong, without stopping."""
    click.echo(f"pgolf-train: warning: {message}", err=True)


def submission_request(options: TrainOptions) -> "SubmissionRequest":
    """What the command line asks for.

    Raises:
        RecipeError: recipe, changes or seeds cannot be understood.
        DataError: the data are not where they should be.
    """
    from trainer.recipe_file import replayed_processes

    if options["overwrite"] and options["resume"]:
        raise RecipeError("--overwrite and --resume exclude each other")
    clock = (f"schedule.clock={options['clock']}",) if options["clock"] else ()
    resolved = resolve(options["recipe"], clock + options["changes"], options["replay"])
    if options["stop_after"] and resolved.recipe.schedule.checkpoint_every == 0:
        raise RecipeError(
            "--stop-after needs checkpoints to go on from: add --set schedule.checkpoint_every=1000"
        )
    seeds = parse_seeds(options["seeds"] or str(resolved.recipe.run.seed))
    # These import torch, for which a mistake on the command line shall not wait.
    from trainer.data.run_data import locate_data
    from trainer.pipeline import SubmissionRequest
    from trainer.submission_folder.folder_request import FolderRequest

    data = locate_data(options["data"], resolved.recipe)
    folder = FolderRequest(
        resolved=resolved,
        folder=options["out"] or Path("submissions") / resolved.name,
        dataset=data.dataset.resolve().name,
        tokenizer=data.tokenizer.name,
        num_gpus=options["gpus"] or replayed_processes(options["replay"]),
        is_packed=options["packed"],
        author=options["author"],
        github_id=options["github_id"],
        date=datetime.now(UTC).date().isoformat(),
    )
    return SubmissionRequest(
        folder=folder,
        data=data,
        seeds=seeds,
        overwrite=options["overwrite"],
        resume=options["resume"],
        stop_after_seconds=options["stop_after"],
    )


def resolve(recipe: str, changes: Iterable[str], replay: str | None) -> "ResolvedRecipe":
    """A recipe with the changes of the environment, of --replay above them, of --set above all.

    Raises:
        RecipeError: with all mistakes.
    """
    from trainer.recipe_file import command_changes, environment_changes, load_recipe

    ambient = environment_changes(os.environ)
    if ambient:
        told = ", ".join(f"{name}={value}" for name, (_, value) in ambient.items())
        click.echo(f"pgolf-train: changed by environment variables: {told}", err=True)
    by_hand = ambient | command_changes(replay)
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise RecipeError(f"--set {change}: expected KEY=VALUE")
        by_hand[key] = (f"--set {key}", value)
    return load_recipe(recipe, by_hand)


def parse_seeds(text: str) -> list[int]:
    """The seeds of a comma-separated list, each once.

    Raises:
        RecipeError: one is no whole number from 0 to 2^31 - 1, or given twice.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) <= MAX_SEED for word in words):
        raise RecipeError(f"--seeds {text}: expected whole numbers like 42,314,1337")
    seeds = [int(word) for word in words]
    if len(set(seeds)) != len(seeds):
        raise RecipeError(f"--seeds {text}: names a seed twice")
    return seeds


def results_table(results: list["SeedResult"]) -> str:
    """The results as text, a line a seed."""
    lines = [
        f"seed {result.seed}: val_bpb {result.val_bpb:.6f}  val_loss {result.val_loss:.6f}  "
        f"{result.steps} steps in {result.train_seconds:.1f} s  {result.total_bytes:,} bytes"
        for result in results
    ]
    mean = sum(result.val_bpb for result in results) / len(results)
    return "\n".join([*lines, f"mean val_bpb {mean:.6f}"])


@cli.command()
def recipes() -> None:
    """List the recipes: name, parent, what it is, how it is launched."""
    from trainer.recipe_file import read_lineage, recipe_names

    width = shutil.get_terminal_size().columns
    for name in recipe_names():
        file = read_lineage(name)[0]
        parent = f" (extends {file.extends})" if file.extends else ""
        what = textwrap.fill(file.what, width, initial_indent="  ", subsequent_indent="  ")
        # The launch command stays on a line of its own, whole, to be copied.
        click.echo(f"{name}{parent}\n{what}\n  {file.launch}\n")


@cli.command()
@recipe_argument
@set_option
@replay_option
def plan(recipe: str, changes: tuple[str, ...], replay: str | None) -> None:
    """Say what RECIPE amounts to, without training: parameters, FLOPs, artifact size.

    \b
    Examples:
      pgolf-train plan baseline
      pgolf-train plan pr1855 --set model.num_layers=12
    """  # noqa: D301 (click wants the \b)
    resolved = resolve(recipe, changes, replay)
    from trainer.pipeline import describe_script
    from trainer.planning.artifact_size import predict_artifact
    from trainer.planning.model_plan import describe_plan, plan_model
    from trainer.planning.total_size import describe_artifact, track_cap_bytes

    click.echo(describe_plan(plan_model(resolved.recipe)))
    predicted = predict_artifact(resolved.recipe)
    cap_bytes = track_cap_bytes(resolved.track)
    click.echo(describe_artifact(predicted, resolved.recipe, cap_bytes))
    click.echo(describe_script(resolved, predicted.num_bytes, cap_bytes))


def main() -> None:
    """Run the command line; a mistake is a line an item on stderr and its exit code."""
    # Being told to stop, or losing the terminal, is like Ctrl-C: the training processes are ended,
    # finished seeds kept. Who started us with nohup wants us to go on.
    for told in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(told) is not signal.SIG_IGN:
            signal.signal(told, signal.default_int_handler)
    try:
        cli()
    except TrainerError as error:
        click.echo(f"pgolf-train: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:  # mostly a full disk
        where = f"{error.filename}: " if error.filename else ""
        click.echo(
            f"pgolf-train: {where}{error.strerror or error}; make room or choose another --out, "
            "then go on with --resume, and without --overwrite",
            err=True,
        )
        sys.exit(TrainerError.exit_code)
    except ModuleNotFoundError as error:  # the referee is to be had without what training needs
        if (error.name or "trainer").split(".")[0] == "trainer":
            raise
        click.echo(f"pgolf-train: {error.name} is missing: pip install 'pgolf[trainer]'", err=True)
        sys.exit(TrainerError.exit_code)
