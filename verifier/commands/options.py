"""The command line's words as values that the pipeline takes."""

import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from rich.console import Console

from verifier.errors import UsageError
from verifier.intake.source_record import SourceRecord, read_commit
from verifier.rulebook import DEFAULT_TRACK, rules_folder
from verifier.runs.plan import PlanOptions
from verifier.schemas.foreign_json import MAX_JSON_CHARACTERS, read_json
from verifier.schemas.run_record_json import Rung

Options = dict[str, Any]
RESULT_WIDTH = 140
"""Columns of a table that goes into a file or a pipe."""


def submission_path(submission: str) -> Path:
    """A path as it stands, or a pull request's number below submissions/."""
    path = Path(submission)
    if not path.exists() and submission.isdigit():
        return Path("submissions") / submission
    return path


def plan_options(submission: str, options: Options) -> PlanOptions:
    """The command line's word on a run.

    Raises:
        UsageError: an option that cannot be read.
    """
    rung: Rung = options["rung"] or "rerun"
    return PlanOptions(
        profile=options["profile"],
        against=options["against"],
        rung=rung,
        seeds=_seeds(options["seeds"]),
        num_seeds=options["num_seeds"],
        data=options["data"],
        num_processes=options["gpus"],
        environment=_environment(options["environment"]),
        sandbox="plain" if options["trusted_plain_process"] else options["sandbox"],
        commit=read_commit(submission_path(submission)),
        num_replicated=options["replicate"],
        independence=options["independence"],
    )


class PipedConsole(Console):
    """A console that leaves it to the command line what a reader's going away means."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def progress_console(options: Options) -> Console:
    """Where progress goes: stderr, so that stdout carries the result alone."""
    return PipedConsole(stderr=True, no_color=options["no_color"] or None, highlight=False)


def result_console(options: Options) -> Console:
    """Where results go; wide enough for its tables when nobody looks."""
    width = None if sys.stdout.isatty() else RESULT_WIDTH
    return PipedConsole(no_color=options["no_color"] or None, highlight=False, width=width)


def track_of(submission: Path, asked: str | None, source: SourceRecord | None) -> str:
    """The track that is asked for, else the one that the submission belongs to.

    That is the one named by a folder above it (`records/track_10min_16mb/…`, the public layout),
    else by a folder above it in the pull request that `fetch` took it from, else by its
    submission.json, else the record track. Reports say which; a gate asks for its own.
    """
    if asked is not None:
        return asked
    known = {path.stem for path in (rules_folder() / "tracks").glob("*.yaml")}
    above = [*submission.resolve().parents, *(PurePosixPath(source.path).parents if source else ())]
    named = [folder.name.removeprefix("track_") for folder in above]
    named.append(_stated_track(submission / "submission.json").replace("-", "_"))
    return next((name for name in named if name in known), DEFAULT_TRACK)


def _stated_track(path: Path) -> str:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_JSON_CHARACTERS:
        return ""
    content = read_json(path.read_text(encoding="utf-8", errors="replace")).value
    track = content.get("track") if isinstance(content, dict) else None
    return track if isinstance(track, str) else ""


def _seeds(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--seeds {text}: give whole numbers, such as 42,314,1337") from None


def _environment(assignments: Iterable[str]) -> dict[str, str]:
    pairs = [assignment.partition("=") for assignment in assignments]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise UsageError(f"--env {name}: give NAME=VALUE, such as --env ITERATIONS=200")
    return {name: value for name, _, value in pairs}
