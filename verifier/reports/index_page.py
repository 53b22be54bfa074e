"""Many submissions on one page: a line each, the gravest first, linked to its own report."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from verifier.reports import figures
from verifier.reports.page_template import render_page
from verifier.schemas.verdict_json import VerdictFile


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexRow:
    """A verdict and the folder of its reports, beside the page."""

    verdict: VerdictFile
    folder: str

    @property
    def link(self) -> str:
        return f"{quote(self.folder)}/report.html"

    @property
    def claimed(self) -> str:
        return figures.bpb(self.verdict.claims.val_bpb)

    @property
    def broken(self) -> str:
        return ", ".join(figures.broken_names(self.verdict))


def render_index(rows: Sequence[IndexRow]) -> str:
    """The whole page."""
    ordered = sorted(rows, key=lambda row: figures.gravity_and_claim(row.verdict))
    counts = figures.verdict_counts([row.verdict for row in rows])
    return render_page("index.html.jinja", counts=counts, rows=ordered)
