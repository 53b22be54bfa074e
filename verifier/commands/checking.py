"""check: submissions on paper, as they are named or as they changed, once or for ever."""

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path

import click

from verifier import pipeline
from verifier.commands.options import Options, result_console, submission_path, track_of
from verifier.commands.rendering import Told, exit_code, show, write_index, write_reports
from verifier.errors import PgolfError, as_told
from verifier.intake.fetching import changed_submissions
from verifier.intake.source_record import read_source
from verifier.reports.console import print_overview
from verifier.reports.foreign_text import visible
from verifier.rulebook import DEFAULT_TRACK, Rulebook, load_rulebook
from verifier.verdict import GRAVITY, Decision

STREAMED = ("json", "markdown", "github")
"""Forms that are told one by one, as the answers come; the others are one document."""
WATCH_SECONDS = 0.5
MAX_WATCHED_FILES = 2_000


def check_changed(base: str, options: Options) -> int:
    """The submissions below the current folder that differ from a git revision; 0 where none do."""
    submissions = changed_submissions(Path.cwd(), base)
    if not submissions:
        click.echo(f"pgolf-verify: no submission changed since {visible(base)}", err=True)
        return 0
    return check(submissions, options)


def check(submissions: Sequence[str], options: Options) -> int:
    """Every submission on paper; the gravest verdict decides the exit code.

    Of several, one that cannot be read is named and the others go on; the exit code is then 2, or
    4 where it was our fault.
    """
    _rulebook(options["track"] or DEFAULT_TRACK).profile(options["profile"])  # no wrong names
    if len(submissions) == 1:
        told = _check_one(submissions[0], options)
        if isinstance(told, PgolfError):
            raise told
        if options["out"]:
            write_reports(told, options["out"])
        show([told], options)
        return exit_code(told.verdict.verdict, options)
    return _check_many(submissions, options)


def watch(submission: str, options: Options) -> int:
    """Check again whenever a file of the folder changes, until interrupted."""
    try:
        for _ in _changes(submission_path(submission)):
            click.clear()
            try:
                check((submission,), options)
            except PgolfError as error:
                click.echo(f"pgolf-verify: {visible(str(error), 2_000)}", err=True)
            click.echo("watching; stop with Ctrl-C", err=True)
    except KeyboardInterrupt:
        pass
    return 0


def _changes(folder: Path) -> Iterator[None]:
    """Once at the start, then each time that names, sizes or times of the files have changed."""
    seen = None
    while True:
        now = _state(folder)
        if now != seen:
            seen = now
            yield
        time.sleep(WATCH_SECONDS)


def _state(folder: Path) -> tuple[object, ...]:
    paths = sorted(folder.rglob("*")) if folder.is_dir() else [folder]
    state: list[object] = []
    for path in paths[:MAX_WATCHED_FILES]:
        try:
            status = path.lstat()
        except OSError:  # gone between two looks, as editors do
            continue
        state.append((str(path), status.st_size, status.st_mtime_ns))
    return tuple(state)


def _check_many(submissions: Sequence[str], options: Options) -> int:
    told: list[Told] = []
    written: list[tuple[Told, str]] = []
    failed = 0
    for submission, result in _checked(submissions, options):
        if isinstance(result, PgolfError):
            click.echo(f"pgolf-verify: {visible(str(result), 2_000)}", err=True)
            failed = max(failed, result.exit_code)
            continue
        told.append(result)
        if options["out"]:
            written.append((result, _file_name(submission)))
            write_reports(result, options["out"] / _file_name(submission))
        if options["format_"] in STREAMED:
            show(told[-1:], options)
    if options["out"]:
        write_index(written, options["out"])
    if options["format_"] == "text":
        print_overview([one.verdict for one in told], result_console(options))
    elif options["format_"] not in STREAMED:
        show(told, options)
    words = (one.verdict.verdict for one in told)
    gravest: Decision = max(words, key=GRAVITY.index, default="accepted")
    return failed or exit_code(gravest, options)


def _checked(
    submissions: Sequence[str], options: Options
) -> Iterator[tuple[str, Told | PgolfError]]:
    """Each with its answer, in their order, several at a time."""
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        answers = pool.map(partial(_check_guarded, options=options), submissions)
        yield from zip(submissions, answers, strict=True)


def _file_name(submission: str) -> str:
    """A folder's name that no two submissions share, however they are called."""
    path = submission_path(submission).resolve()
    plain = "".join(c if c.isascii() and c.isalnum() or c in "._-" else "_" for c in path.name)
    return f"{plain[:80]}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"


def _check_guarded(submission: str, options: Options) -> Told | PgolfError:
    """One of several: no fault of ours on one of them takes the others along."""
    try:
        return _check_one(submission, options)
    except Exception as error:
        told = as_told(error)
        return type(told)(f"{submission}: {told}")


def _check_one(submission: str, options: Options) -> Told | PgolfError:
    """One submission; an error is handed back, because another process may have to tell it."""
    path = submission_path(submission)
    try:
        # A note that came with the changes is the author's word, not that of `fetch`.
        source = None if options.get("changed") else read_source(path)
        rulebook = _rulebook(track_of(path, options["track"], source))
        commit = source.commit if source else None
        verdict = pipeline.check(path, rulebook, options["profile"], commit)
    except PgolfError as error:
        return error
    return Told(verdict=verdict, submission=path, source=source)


@cache
def _rulebook(track: str) -> Rulebook:
    """A track's rulebook, read once, however many submissions are held to it."""
    return load_rulebook(track)
