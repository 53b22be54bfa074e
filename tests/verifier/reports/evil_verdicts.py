"""Verdicts in which a stranger wrote what he liked."""

import datetime
from pathlib import Path

from verifier.findings import Outcome, Severity
from verifier.schemas.rule_record_json import FindingRecord, RuleRecord
from verifier.schemas.run_record_json import ClaimedValues
from verifier.schemas.verdict_json import VerdictFile

EVIL = (
    "\x1b[2J\x9b\u202e\u2066\uffff</style></script><script>alert(1)</script>"
    "<img src=https://evil.example/x onerror=alert(1)>]]>&lt;%0A::error::x\n\u2028\"'{{7*7}}\x00"
)
RIGHT_TO_LEFT = "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u4f60\u597d"
SCHEMAS = Path(__file__).parent / "schemas"


def rule(
    name: str = "failed_run",
    outcome: Outcome = Outcome.BROKEN,
    severity: Severity = Severity.REJECT,
    findings: tuple[FindingRecord, ...] = (),
) -> RuleRecord:
    return RuleRecord(
        rule=name,
        title="The script does not complete",
        since=datetime.date(2026, 3, 18),
        source="README",
        outcome=outcome,
        severity=severity,
        violation_class="other",
        condition="evidence",
        reason="not seen" if outcome is Outcome.NOT_EVALUATED else None,
        findings=findings,
    )


def findings(text: str, count: int) -> tuple[FindingRecord, ...]:
    finding = FindingRecord(message=text, file=f"{text}.py", line=3, evidence=text)
    return (finding,) * count


def verdict(text: str = EVIL, num_findings: int = 1, **changes: object) -> VerdictFile:
    """A rejection in which every foreign field is `text`."""
    made = VerdictFile(
        submission=text,
        commit=None,
        submission_sha256="0" * 64,
        track="demo",
        profile="readme-strict",
        rung="paper",
        verdict="rejected",
        because="broken: failed_run",
        next_command=text,
        rules=(
            rule("too_few_seeds", Outcome.PASSED),
            rule("overlong_training", Outcome.NOT_EVALUATED),
            rule("seed_selection", severity=Severity.WARN, findings=findings(text, num_findings)),
            rule(findings=findings(text, num_findings)),
        ),
        claims=ClaimedValues(val_bpb=1.0, val_bpb_std=None, bytes_total=None),
        unread=(text,) * num_findings,
    )
    return made.model_copy(update=changes)
