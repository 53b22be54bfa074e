"""The command line: parses, prints, exits. Everything it does stands in pipeline.py.

Heavy imports stay inside the commands, so that --help answers at once.
"""

import gc
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from verifier import __version__

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Command = TypeVar("Command", bound=Callable[..., Any])
INTERRUPTED = 130
READER_WENT_AWAY = 141
"""What a shell calls a program that SIGPIPE ended; never 0 or 1, which are verdicts."""
EXIT_CODES = """
Exit codes: 0 accepted, 1 rejected, 2 usage, 3 inconclusive, 4 the harness could not do its job,
130 interrupted.
"""
VERDICT_FORMS = ("text", "json", "markdown", "github", "sarif", "junit", "html")


class DefaultCommandGroup(click.Group):
    """A group whose first word may also be a submission: then `verify` is meant."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = args[0] if args else "--help"
        if first not in self.commands and first not in ("--help", "-h", "--version"):
            if not ctx.resilient_parsing:  # which a shell does, to complete a word
                self.refuse_misspelt(first)
            args = ["verify", *args]
        return super().parse_args(ctx, args)

    def refuse_misspelt(self, word: str) -> None:
        """Name the command that was meant by a word that is nearly one and no path.

        Raises:
            click.UsageError: it is.
        """
        from difflib import get_close_matches

        near = get_close_matches(word, self.commands)
        if near and not os.path.lexists(word):
            raise click.UsageError(
                f"no command and no submission '{word}'; did you mean {near[0]}?"
            )

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list["CompletionItem"]:
        return super().shell_complete(ctx, incomplete) or click.Path().shell_complete(
            ctx, click.Argument(["submission"]), incomplete
        )


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
    click.option("--resume", is_flag=True, help="Go on with a run directory; repeat no seed."),
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


@click.group(
    cls=DefaultCommandGroup,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="pgolf-verify")
def cli() -> None:
    """Verify a Parameter Golf submission: a folder in, a verdict with its reasons out.

    `pgolf-verify SUBMISSION` climbs as far as this machine allows and then gives the verdict.
    SUBMISSION is a folder, a pull request's number below submissions/, or one train_gpt.py.
    """


@cli.command()
@submission_argument
@rule_options
@run_options
@fail_on_option
@output_options(*VERDICT_FORMS)
def verify(submission: str, **options: Any) -> None:
    """Check, run and judge SUBMISSION: the whole way to a verdict.

    \b
    Examples:
      pgolf-verify 1855                          as far as this machine allows
      pgolf-verify submissions/mine --rung rehearsal --gpus 1
      pgolf-verify submissions/mine --data data/demo --num-seeds 4 --out runs/mine
      pgolf-verify submissions/mine --data data/demo --out runs/mine --resume
    """  # noqa: D301 (click wants the \b)

    def climb() -> int:
        from verifier.commands.ahead import probed_ahead

        with probed_ahead(options, options["rung"]) as probes:
            from verifier.commands import verdicts

            return verdicts.verify(submission, options, probes)

    finish(options, climb)


@cli.command()
@click.argument("submissions", nargs=-1, type=click.Path(readable=False))
@rule_options
@click.option("--changed", metavar="BASE", help="Those that differ from this git revision.")
@click.option("--watch", is_flag=True, help="Check again whenever a file changes.")
@click.option("--out", type=click.Path(path_type=Path), help="Write every form of report here.")
@fail_on_option
@output_options(*VERDICT_FORMS)
def check(submissions: tuple[str, ...], **options: Any) -> None:
    """Read SUBMISSIONS, run nothing, and say what can be said.

    \b
    Examples:
      pgolf-verify check submissions/1855 --out report
      pgolf-verify check records/track_10min_16mb/*/ --format json
      pgolf-verify check --changed origin/main --fail-on rejected --format github
      pgolf-verify check submissions/mine --watch
    """  # noqa: D301 (click wants the \b)
    if bool(submissions) == bool(options["changed"]):
        raise click.UsageError("name submissions, or give --changed BASE")
    if options["watch"] and len(submissions) != 1:
        raise click.UsageError("--watch takes one submission")
    from verifier.commands import checking

    if options["changed"]:
        finish(options, lambda: checking.check_changed(options["changed"], options))
    if options["watch"]:
        finish(options, lambda: checking.watch(submissions[0], options))
    finish(options, lambda: checking.check(submissions, options))


@cli.command()
@submission_argument
@rule_options
@run_options
@click.option("--plan-only", is_flag=True, help="Print the plan as JSON and stop.")
@output_options(*VERDICT_FORMS)
def run(submission: str, **options: Any) -> None:
    """Execute the plan for SUBMISSION and record it; give no verdict.

    \b
    Examples:
      pgolf-verify run 1855 --plan-only          seeds, command, minutes a rung
      pgolf-verify run 1855 --out runs/1855 && pgolf-verify judge runs/1855
    """  # noqa: D301 (click wants the \b)

    def climb() -> int:
        from verifier.commands.ahead import probed_ahead

        with probed_ahead(options, options["rung"] or "rerun") as probes:
            from verifier.commands import verdicts

            return verdicts.run(submission, options, probes)

    finish(options, climb)


@cli.command()
@click.argument("run_dir", type=click.Path(readable=False, path_type=Path))
@click.option("--profile", help="Another profile than the one that the run was planned under.")
@fail_on_option
@output_options(*VERDICT_FORMS)
def judge(run_dir: Path, **options: Any) -> None:
    """Give the verdict on what RUN_DIR holds again; run nothing."""
    from verifier.commands import verdicts

    finish(options, lambda: verdicts.judge(run_dir, options))


@cli.command()
@click.argument("run_dir", type=click.Path(readable=False, path_type=Path))
@output_options(*VERDICT_FORMS)
def report(run_dir: Path, **options: Any) -> None:
    """Redraw the reports of the verdict in RUN_DIR."""
    from verifier.commands import verdicts

    finish(options, lambda: verdicts.report(run_dir, options))


@cli.command()
@click.argument("challenger", required=False)
@click.argument("prior", required=False)
@click.option("--values", multiple=True, metavar="X,Y,Z", help="Scores instead of a name; twice.")
@rule_options
@output_options("text", "json")
def compare(challenger: str | None, prior: str | None, **options: Any) -> None:
    """Test whether CHALLENGER is better than PRIOR.

    \b
    Examples:
      pgolf-verify compare pr1855 pr1868         records
      pgolf-verify compare runs/mine pr1855      run directories and folders
      pgolf-verify compare pr1855 --values 1.061,1.062,1.060
                                                 scores, here the challenger's

    Exit codes: 0 significant, 1 not significant, 3 not computable.
    """  # noqa: D301 (click wants the \b)
    from verifier.commands import ledger

    finish(options, lambda: ledger.compare(challenger, prior, options))


@cli.command()
@rule_options
@output_options("text", "json")
def records(**options: Any) -> None:
    """List the ledger of accepted records."""
    from verifier.commands import ledger

    finish(options, lambda: ledger.records(options))


@cli.command()
@rule_options
@output_options("text", "json")
def board(**options: Any) -> None:
    """Show the board as the profile would have kept it."""
    from verifier.commands import ledger

    finish(options, lambda: ledger.board(options))


@cli.command()
@click.argument("rule", required=False, shell_complete=names_below("."))
@rule_options
@output_options("text", "json", "markdown")
def rules(rule: str | None, **options: Any) -> None:
    """List the track's rules, or explain one of them."""
    from verifier.commands import rulebook

    finish(options, lambda: rulebook.rules(rule, options))


@cli.command()
@click.option(
    "--sandbox",
    "sandboxes",
    multiple=True,
    type=click.Choice(["bubblewrap", "landlock", "plain"]),
    help="Try this one alone; may be given again. The default is all of them.",
)
@rule_options
@output_options("text", "json", "markdown")
def doctor(**options: Any) -> None:
    """Say what this machine can enforce and measure."""
    from verifier.commands import machine

    finish(options, lambda: machine.doctor(options))


@cli.command()
@click.argument("number", type=click.IntRange(1))
@click.option(
    "--remote",
    default="https://github.com/openai/parameter-golf",
    show_default=True,
    help="URL or path of the git repository.",
)
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    default=Path("submissions"),
    show_default=True,
    help="The folder that gets a folder <number>.",
)
@click.option(
    "--folder",
    metavar="PATH",
    help="The submission's folder in the repository, where the pull request changes several.",
)
@loudness_options
def fetch(number: int, remote: str, into: Path, folder: str | None, **options: Any) -> None:
    """Put pull request NUMBER's submission into submissions/<number>."""
    from verifier.commands import machine

    finish(options, lambda: machine.fetch(number, remote, into, folder))


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--author", default="", help="Your name, for submission.json.")
@click.option("--github-id", default="", help="Your account, for submission.json.")
@loudness_options
def init(folder: Path, author: str, github_id: str, **options: Any) -> None:
    """Write a small submission into FOLDER, to start from."""
    from verifier.commands import starting

    named = starting.Author(name=author, github_id=github_id)
    finish(options, lambda: starting.init(folder, named))


@cli.command()
@loudness_options
def schema(**options: Any) -> None:
    """Print the JSON Schema of a verdict."""
    from verifier.commands import verdicts

    finish(options, verdicts.schema)


def finish(options: dict[str, Any], command: Callable[[], int]) -> NoReturn:
    """Run a command to its exit code; an error becomes one line on stderr.

    Whatever goes wrong is told apart from a verdict: no error of ours ends with 0 or 1.
    """
    try:
        with quiet_pipe():
            sys.exit(command())
    except KeyboardInterrupt as interrupt:
        hint = f"; {interrupt}" if str(interrupt) else ""
        click.echo(f"pgolf-verify: interrupted{hint}", err=True)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if options["verbose"]:
            traceback.print_exc()
        from verifier.errors import as_told
        from verifier.reports.foreign_text import visible

        told = as_told(error)
        click.echo(f"pgolf-verify: {visible(str(told), 2_000)}", err=True)
        sys.exit(told.exit_code)


@contextmanager
def quiet_pipe() -> Iterator[None]:
    """A reader that went away (`| head`) is no error."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(READER_WENT_AWAY)


def main() -> None:
    """Entry point of the console script."""
    # Syntax trees are many small objects that stay: looking for garbage often finds none.
    gc.set_threshold(1_000_000)
    try:
        cli()
    finally:
        gc.freeze()  # else the interpreter looks once more, at every node: 80 ms at its end
