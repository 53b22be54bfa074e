"""The report as one HTML file: no script, no request, every foreign word harmless."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from markupsafe import Markup, escape

from verifier import __version__
from verifier.findings import Outcome
from verifier.reports import figures
from verifier.reports.charts.all_charts import make_charts
from verifier.reports.charts.svg import draw_svg
from verifier.reports.compared import compared
from verifier.reports.dossier import Dossier
from verifier.reports.foreign_text import visible
from verifier.reports.page_template import render_page
from verifier.schemas.rule_record_json import FindingRecord, RuleRecord
from verifier.schemas.rule_yaml import Rule

FINDINGS_BYTES = 300_000
UNREAD_BYTES = 40_000
"""Space for long lists, as written into the page; the whole of it stays under a megabyte."""
MAX_DATA_FILES = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokenRule:
    """A broken rule with as many of its findings as the page has room for."""

    record: RuleRecord
    rule: Rule | None
    findings: tuple[FindingRecord, ...]
    left_out: int


def render_html(dossier: Dossier) -> str:
    """The whole page."""
    verdict = dossier.verdict
    unread = _within([_written_bytes(line) for line in verdict.unread], UNREAD_BYTES)
    return render_page(
        "page.html.jinja",
        version=__version__,
        dossier=dossier,
        verdict=verdict,
        compared=compared(dossier),
        broken=_broken(dossier),
        answers=[a for a in figures.answers(verdict.rules) if a.outcome is not Outcome.BROKEN],
        charts=[(chart, Markup(draw_svg(chart))) for chart in make_charts(dossier)],
        seed_columns=figures.SEED_COLUMNS,
        seed_rows=[figures.seed_row(seed) for seed in verdict.measurements],
        other_profiles=list(figures.other_profiles(verdict)),
        tested=figures.significance_lines(verdict.significance) if verdict.significance else (),
        size_line=figures.size_line(verdict.sizes),
        profile=dossier.rulebook.profile(verdict.profile),
        unread=verdict.unread[:unread],
        unread_left_out=len(verdict.unread) - unread,
        data_files=dossier.evidence.plan.data[:MAX_DATA_FILES] if dossier.evidence else (),
        repeat=_repeat(dossier),
    )


def _written_bytes(text: str) -> int:
    """What a text takes in the page, with the tags around it."""
    return len(str(escape(visible(text))).encode()) + 64


def _within(sizes: Sequence[int], max_bytes: int) -> int:
    """How many of the first fit."""
    return sum(used <= max_bytes for used in accumulate(sizes))


def _broken(dossier: Dossier) -> list[BrokenRule]:
    """The most severe first; each finding takes from one space for all."""
    left = FINDINGS_BYTES
    told = []
    for record in figures.by_gravity(dossier.verdict.rules):
        if record.outcome is not Outcome.BROKEN:
            continue
        sizes = [
            _written_bytes(f"{figures.place(f)}{f.message}{f.evidence or ''}")
            + len(dossier.address(f) or "")
            for f in record.findings
        ]
        count = _within(sizes, left)
        left -= sum(sizes[:count])
        told.append(
            BrokenRule(
                record=record,
                rule=dossier.rules.get(record.rule),
                findings=record.findings[:count],
                left_out=len(record.findings) - count,
            )
        )
    return told


def _repeat(dossier: Dossier) -> tuple[str, ...]:
    """The commands that lead to this verdict again."""
    verdict = dossier.verdict
    # Drawn from a run directory alone, nobody knows where the submission lies.
    name = shlex.quote(dossier.folder) if dossier.folder else "SUBMISSION"
    rules = f"--track {verdict.track} --profile {verdict.profile}"
    if dossier.evidence is None:
        return (f"pgolf-verify check {name} {rules}",)
    plan = dossier.evidence.plan
    named = ",".join(map(str, plan.seeds))
    seeds = f" --num-seeds {len(plan.seeds)}" if plan.seeds_assigned else f" --seeds {named}"
    against = f" --against {plan.against}" if plan.against else ""
    return (
        f"pgolf-verify {name} {rules} --rung {plan.rung}{seeds}{against}",
        f"pgolf-verify judge RUN_DIR --profile {verdict.profile}",
    )
