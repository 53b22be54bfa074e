"""How verdicts leave the program: on stdout in the form that is asked for, or into a folder.

Each form is imported where it is written: a check that prints a table loads no page and no plot.
"""

import io
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
from rich.console import Console

from verifier.commands.options import Options, result_console
from verifier.errors import UsageError
from verifier.intake.source_record import SourceRecord
from verifier.records.ledger import load_ledger
from verifier.reports.console import print_verdict
from verifier.reports.dossier import Dossier
from verifier.reports.github import render_github
from verifier.reports.markdown import SUMMARY_CHARACTERS, render_markdown
from verifier.reports.verdict_file import render_json
from verifier.rulebook import Rulebook, load_rulebook, load_rules, rules_folder
from verifier.runs.journal import write_atomically, write_record
from verifier.schemas.rule_yaml import Rule
from verifier.schemas.run_record_json import Evidence
from verifier.schemas.verdict_json import VerdictFile
from verifier.verdict import EXIT_CODES, Decision

TEXT_WIDTH = 140


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """A verdict with where it comes from, as far as that is at hand."""

    verdict: VerdictFile
    submission: Path | None = None
    evidence: Evidence | None = None
    source: SourceRecord | None = None


def open_dossier(told: Told) -> Dossier:
    """A verdict with the rules, records and runs behind it.

    Raises:
        UsageError: the track of the verdict is not among ours.
    """
    rules = rules_folder()
    rulebook = _rulebook(told.verdict.track, rules)
    is_ranked = rulebook.track.claims_record
    return Dossier(
        verdict=told.verdict,
        rulebook=rulebook,
        rules=_rules(rules),
        ledger=load_ledger(rules / "records", rulebook.track.id) if is_ranked else None,
        evidence=told.evidence,
        folder=_place(told.submission),
        source=told.source,
    )


@cache
def _rulebook(track: str, folder: Path) -> Rulebook:
    return load_rulebook(track, folder)


@cache
def _rules(folder: Path) -> dict[str, Rule]:
    return load_rules(folder)


def _place(path: Path | None) -> str:
    """The path below the current folder, which for a gate is the repository's root; else nothing.

    A single script stands in its folder.
    """
    if path is None:
        return ""
    folder = path if path.is_dir() else path.parent
    try:
        return folder.resolve().relative_to(Path.cwd().resolve()).as_posix()
    except ValueError:
        return ""


def show(told: Sequence[Told], options: Options) -> None:
    """Write the verdicts to stdout.

    Raises:
        UsageError: a page is asked for that tells of one submission, and there are several.
    """
    form = options["format_"]
    if form == "text":
        for one in told:
            print_verdict(one.verdict, result_console(options))
        return
    if form == "html" and len(told) != 1:
        raise UsageError("--format html tells of one submission; give --out DIR for several")
    click.echo(_rendered(form, told), nl=False)


def _rendered(form: str, told: Sequence[Told]) -> str:
    if form == "sarif":
        from verifier.reports.sarif import render_sarif

        return render_sarif([open_dossier(one) for one in told])
    if form == "junit":
        from verifier.reports.junit import render_junit

        return render_junit([one.verdict for one in told])
    if form == "html":
        from verifier.reports.html_page import render_html

        return render_html(open_dossier(told[0]))
    if form == "github":
        return "".join(render_github(one.verdict, _place(one.submission)) for one in told)
    if form == "json":
        return "".join(render_json(one.verdict) for one in told)
    return "".join(render_markdown(one.verdict, source=one.source) for one in told)


def write_reports(told: Told, folder: Path) -> None:
    """Every form of the report into a folder, each file whole or not at all.

    Raises:
        RunDirectoryError: the disk is full or refuses.
    """
    verdict = told.verdict
    again = f"the evidence is kept: make room, then `pgolf-verify judge {shlex.quote(str(folder))}`"
    hint = again if told.evidence else "make room, or give another --out"
    write_record(folder / "verdict.json", verdict, hint)
    text = io.StringIO()
    print_verdict(verdict, Console(file=text, width=TEXT_WIDTH))
    files: dict[str, str | bytes] = {
        "report.txt": text.getvalue(),
        "report.md": render_markdown(verdict, source=told.source),
        "summary.md": _summary(told),
        "report.html": _rendered("html", [told]),
        "report.sarif": _rendered("sarif", [told]),
        "report.junit.xml": _rendered("junit", [told]),
        **_plots(open_dossier(told)),
    }
    for name, content in files.items():
        write_atomically(folder / name, content, hint)


def write_index(told: Sequence[tuple[Told, str]], folder: Path) -> None:
    """A page that leads to the reports of many submissions, each in its own folder beside it."""
    from verifier.reports.index_page import IndexRow, render_index

    rows = [IndexRow(verdict=one.verdict, folder=name) for one, name in told]
    write_atomically(folder / "index.html", render_index(rows))


def _summary(told: Told) -> str:
    return render_markdown(told.verdict, SUMMARY_CHARACTERS, told.source)


def _plots(dossier: Dossier) -> dict[str, bytes]:
    """Each chart as an image, by the place of its file in the folder."""
    from verifier.reports.charts.all_charts import make_charts
    from verifier.reports.charts.png import draw_png

    return {f"plots/{chart.name}.png": draw_png(chart) for chart in make_charts(dossier)}


def exit_code(decision: Decision, options: Options) -> int:
    """The verdict's code; under `--fail-on rejected` what is only inconclusive does not fail."""
    if options["fail_on"] == "rejected" and decision == "inconclusive":
        return 0
    return EXIT_CODES[decision]
