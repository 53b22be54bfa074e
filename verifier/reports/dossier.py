"""All that a report may tell of one submission: its verdict, and what that verdict rests on."""

from collections.abc import Mapping
from dataclasses import dataclass

from verifier.rulebook import Rulebook
from verifier.schemas.ledger_yaml import Ledger
from verifier.schemas.rule_yaml import Rule
from verifier.schemas.run_record_json import Evidence
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
