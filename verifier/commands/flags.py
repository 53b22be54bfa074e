"""The options that several commands share. Only click is imported: --help answers at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
VERDICT_FORMS = ("text", "json", "markdown", "github", "sarif", "junit", "html")


def stack(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several click options as one decorator, in the order of the help text."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def names_below(folder: str) -> Callable[..., list[str]]:
    """What a shell offers for the name of a file of `rules/<folder>`."""

    def complete(context: click.Context, parameter: click.Parameter, word: str) -> list[str]:
        from verifier.rulebook import rules_folder

        names = sorted(path.stem for path in (rules_folder() / folder).glob("*.yaml"))
        return [name for name in names if name.startswith(word)]

    return complete


submission_argument = click.argument("submission", type=click.Path(readable=False))
rule_options = stack(
    click.option(
        "--track",
        shell_complete=names_below("tracks"),
        help="The track; else what the folder's place or submission.json names, else 10min_16mb.",
    ),
    click.option(
        "--profile",
        default="readme-strict",
        show_default=True,
        shell_complete=names_below("profiles"),
        help="The rule profile.",
    ),
)
loudness_options = stack(
    click.option("-q", "--quiet", is_flag=True, help="No progress on stderr."),
    click.option("-v", "--verbose", is_flag=True, help="Show the traceback of an error."),
    click.option("--no-color", is_flag=True, help="Plain text."),
)


def output_options(*forms: str) -> Callable[[Command], Command]:
    """--format with the forms that a command can write, and how loud it is."""
    form = click.option(
        "--format",
        "format_",
        type=click.Choice(forms),
        default="text",
        show_default=True,
        help="How the result is written to stdout.",
    )
    return stack(form, loudness_options)


run_options = stack(
    click.option("--seeds", metavar="A,B,C", help="These seeds, instead of the assigned ones."),
    click.option("--num-seeds", type=click.IntRange(1, 100), help="How many assigned seeds."),
    click.option("--against", metavar="RECORD", help="The prior record, such as pr1855."),
    click.option(
        "--rung",
        type=click.Choice(["paper", "rehearsal", "floor", "probe", "rerun", "stream"]),
        help="Climb to this rung; the default is as far as this machine allows.",
    ),
    click.option(
        "--floor-minutes",
        type=click.FloatRange(0, 600, min_open=True),
        metavar="M",
        help="Minutes of training on the rung floor; the default is the track's.",
    ),
    click.option("--data", type=click.Path(path_type=Path), help="Folder of the track's data."),
    click.option(
        "--fresh",
        type=click.Path(path_type=Path),
        metavar="PATH",
        help="Documents that nobody was shown, to be scored among validation documents.",
    ),
    click.option("--gpus", type=click.IntRange(1, 64), help="Processes that torchrun starts."),
    click.option(
        "--env", "environment", multiple=True, metavar="K=V", help="Set for the script; repeatable."
    ),
    click.option("--out", type=click.Path(path_type=Path), help="The run directory."),
    click.option("--plan-only", is_flag=True, help="Print the plan as JSON and stop."),
    click.option(
        "--resume", is_flag=True, help="Go on with a run directory; repeat no finished seed."
    ),
    click.option(
        "--replicate",
        type=click.IntRange(0, 100),
        default=0,
        metavar="N",
        help="Also run up to N of the author's own seeds, to check his logs.",
    ),
    click.option(
        "--independence",
        is_flag=True,
        help="Train the first seed again beside other validation data: nothing may change.",
    ),
    click.option(
        "--sandbox",
        type=click.Choice(["bubblewrap", "landlock"]),
        default="bubblewrap",
        show_default=True,
        help="What confines the run; landlock holds less, for hosts without user namespaces.",
    ),
    click.option(
        "--trusted-plain-process",
        is_flag=True,
        help="Run WITHOUT a sandbox: only for code that you trust as your own.",
    ),
)


fail_on_option = click.option(
    "--fail-on",
    type=click.Choice(["rejected", "inconclusive"]),
    default="inconclusive",
    show_default=True,
    help="From which verdict on the exit code is not 0; `rejected` lets the inconclusive pass.",
)
