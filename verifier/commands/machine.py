"""doctor and fetch: what this machine can do, and what comes onto it from elsewhere."""

import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from verifier.commands.options import Options, progress_console, result_console
from verifier.errors import HarnessError, SandboxUnavailableError
from verifier.intake.fetching import fetch_pull_request
from verifier.reports.foreign_text import visible
from verifier.reports.sandbox_survey import (
    UNCONFINED,
    Survey,
    print_surveys,
    survey_json,
    survey_markdown,
)
from verifier.rulebook import DEFAULT_TRACK, load_rulebook
from verifier.runs.machine.host import describe_host
from verifier.sandbox.choice import SANDBOXES, sandbox_named
from verifier.sandbox.conformance.checks import CHECKS, Answer
from verifier.sandbox.conformance.suite import run_checks
from verifier.sandbox.probing import grade_guarantees


def doctor(options: Options) -> int:
    """Describe the host, try every check on every sandbox; 4 when nothing untrusted can be run."""
    console = result_console(options)
    surveys = _survey(options["sandboxes"] or tuple(SANDBOXES), options)
    if options["format_"] == "json":
        click.echo(survey_json(surveys), nl=False)
    elif options["format_"] == "text":
        _print_host(options["track"] or DEFAULT_TRACK, console)
        print_surveys(surveys, console)
    else:
        click.echo(survey_markdown(surveys), nl=False)
    confining = [s for s in surveys if s.unavailable is None and s.sandbox != UNCONFINED]
    return 0 if confining else HarnessError.exit_code


def _print_host(track_id: str, console: Console) -> None:
    track = load_rulebook(track_id).track
    host = describe_host(track.hardware)
    console.print(f"{host.cpu}, {host.num_cpus} CPUs, {host.memory_bytes / 1e9:.0f} GB memory")
    console.print(f"GPUs: {', '.join(host.gpus) or 'none'}")
    console.print(f"Python {host.python}, torch {host.torch or 'not installed'}")
    word = "meets" if host.meets_track else "does not meet"
    console.print(f"This machine {word} the hardware of track {track.id}.")


def _survey(names: tuple[str, ...], options: Options) -> list[Survey]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[check]}"))
    console = progress_console(options)
    unseen = options["quiet"] or not console.is_terminal  # else a line is left, an empty one
    with Progress(*columns, console=console, transient=True, disable=unseen) as progress:
        return [_survey_one(name, progress) for name in names]


def _survey_one(name: str, progress: Progress) -> Survey:
    task = progress.add_task(name, total=len(CHECKS), check="")

    def show(answer: Answer) -> None:
        progress.update(task, advance=1, check=answer.check.name)

    try:
        with tempfile.TemporaryDirectory(prefix="pgolf-doctor-") as scratch:
            # A sandbox may run its command as a user of its own, who must get there.
            Path(scratch).chmod(0o755)
            answers = run_checks(sandbox_named(name), CHECKS, Path(scratch), show)
    except SandboxUnavailableError as error:
        return Survey(sandbox=name, unavailable=str(error))
    return Survey(sandbox=name, answers=answers, guarantees=grade_guarantees(answers))


def fetch(number: int, remote: str, into: Path, folder: str | None) -> int:
    """Bring one pull request's submission folder, and note its commit."""
    fetched = fetch_pull_request(number, remote, into, folder)
    print(visible(f"{into / str(number)}: {fetched.path} at commit {fetched.commit}", 2_000))
    return 0
