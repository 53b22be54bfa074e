"""The command line: parses, prints, exits. Everything it does stands in pipeline.py.

Heavy imports stay inside the commands, so that --help answers at once.
"""

import gc
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from verifier import __version__
from verifier.commands.flags import (
    VERDICT_FORMS,
    fail_on_option,
    loudness_options,
    names_below,
    output_options,
    rule_options,
    run_options,
    submission_argument,
)
from verifier.commands.interrupts import INTERRUPTED, interrupt, listen, was_interrupted

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

READER_WENT_AWAY = 141
"""What a shell calls a program that SIGPIPE ended; never 0 or 1, which are verdicts."""
EXIT_CODES = """
Exit codes: 0 accepted, 1 rejected, 2 usage, 3 inconclusive, 4 the harness could not do its job,
130 interrupted.
"""


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

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        with told_apart():  # --help and --version are printed here
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> object:
        with told_apart():  # the commands' own --help, and all that is imported
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list["CompletionItem"]:
        return super().shell_complete(ctx, incomplete) or click.Path().shell_complete(
            ctx, click.Argument(["submission"]), incomplete
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
    from verifier.commands import comparison

    finish(options, lambda: comparison.compare(challenger, prior, options))


@cli.command()
@rule_options
@output_options("text", "json")
def records(**options: Any) -> None:
    """List the ledger of accepted records."""
    from verifier.commands.records import records

    finish(options, lambda: records(options))


@cli.command()
@rule_options
@output_options("text", "json")
def board(**options: Any) -> None:
    """Show the board as the profile would have kept it."""
    from verifier.commands.records import board

    finish(options, lambda: board(options))


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
    from verifier.commands import new_submission

    named = new_submission.Author(name=author, github_id=github_id)
    finish(options, lambda: new_submission.init(folder, named))


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
        with told_apart():
            sys.exit(command())
    except Exception as error:
        if options["verbose"]:
            traceback.print_exc()
        from verifier.errors import as_told
        from verifier.reports.foreign_text import visible

        told = as_told(error)
        click.echo(f"pgolf-verify: {visible(str(told), 2_000)}", err=True)
        sys.exit(told.exit_code)


@contextmanager
def told_apart() -> Iterator[None]:
    """Whoever interrupts, or reads no further (`| head`), gets no verdict; click would say 1."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        sys.exit(READER_WENT_AWAY)
    except (KeyboardInterrupt, Exception) as error:
        if not was_interrupted(error):
            raise
        hint = f"; {error}" if isinstance(error, KeyboardInterrupt) and error.args else ""
        with suppress(OSError):  # where the terminal is gone
            click.echo(f"pgolf-verify: interrupted{hint}", err=True)
        sys.exit(INTERRUPTED)


def main() -> None:
    """Entry point of the console script."""
    listen(interrupt)
    # Syntax trees are many small objects that stay: looking for garbage often finds none.
    gc.set_threshold(1_000_000)
    try:
        cli()
    finally:
        gc.freeze()  # else the interpreter looks once more, at every node: 80 ms at its end
