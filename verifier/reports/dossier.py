"""All that a report may tell of one submission: its verdict, and what that verdict rests on."""

from collections.abc import Mapping
from dataclasses import dataclass

from verifier.intake.source_record import SourceRecord
from verifier.reports import figures
from verifier.rulebook import Rulebook
from verifier.schemas.ledger_yaml import Ledger
from verifier.schemas.rule_record_json import FindingRecord
from verifier.schemas.rule_yaml import Rule
from verifier.schemas.run_record_json import SMALL_RUNGS, Evidence
from verifier.schemas.verdict_json import VerdictFile


@dataclass(frozen=True, kw_only=True, slots=True)
class Dossier:
    """One submission's verdict with the rules, records and runs behind it."""

    verdict: VerdictFile
    rulebook: Rulebook
    rules: Mapping[str, Rule]
    """Every rule of the project, whether the track asks for it or not."""
    ledger: Ledger | None
    """None where the track keeps no records."""
    evidence: Evidence | None = None
    """What was planned and on which machine; None where nothing was run."""
    folder: str = ""
    """The submission's place below the repository's root, where that is known."""
    source: SourceRecord | None = None
    """Where `fetch` found it; None for what was never fetched."""

    @property
    def of_full_runs(self) -> str:
        """What to add to the track's budgets where the runs beside them were small ones."""
        return " of full runs" if self.verdict.rung in SMALL_RUNGS else ""

    def address(self, finding: FindingRecord) -> str | None:
        """Where a browser shows what was found."""
        return web_address(self.source, finding)


def web_address(source: SourceRecord | None, finding: FindingRecord) -> str | None:
    """Where a browser shows what was found; None for what has no place on the web."""
    file, line = figures.shipped_place(finding)
    return source.web_address(file, line) if source and file else None
