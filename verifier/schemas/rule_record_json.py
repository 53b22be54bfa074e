"""One rule's answer, as evidence and verdict files hold it."""

import datetime

from verifier.findings import Outcome, Severity
from verifier.schemas.base import StrictModel


class FindingRecord(StrictModel):
    """One breach at one place."""

    message: str
    file: str | None = None
    line: int | None = None
    evidence: str | None = None


class RuleRecord(StrictModel):
    """One rule's answer. `reason` says why it was not evaluated."""

    rule: str
    title: str
    since: datetime.date
    """From which day the clause was in the rules."""
    source: str
    """Where the clause stands."""
    mend: str = ""
    """What an author does about a breach."""
    outcome: Outcome
    severity: Severity
    violation_class: str
    condition: str
    reason: str | None = None
    findings: tuple[FindingRecord, ...] = ()
