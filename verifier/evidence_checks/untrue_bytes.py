"""Loss and BPB must imply the bytes of the raw documents that were scored."""

from verifier.evidence_checks.base import EvidenceCase, fresh_record
from verifier.findings import PASSED, CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """The whole interval that rounding leaves must lie beyond the tolerance."""
    record = fresh_record(case)
    if isinstance(record, CheckResult):
        return record
    low, high = record.implied_bytes_low, record.implied_bytes_high
    least, most = record.text_bytes_low, record.text_bytes_high
    if low is None or high is None or least is None or most is None:
        return cannot_tell("it printed no BPB of the fresh documents beside its loss")
    tolerance = rule.parameters["tolerance_relative"]
    if low <= most * (1 + tolerance) and high >= least * (1 - tolerance):
        return PASSED
    implied = (low + high) / 2
    return CheckResult(
        findings=(
            Finding(
                message=f"its loss and BPB imply {implied:,.0f} bytes, the documents have {most:,} "
                f"({implied / most:.4f} times as many)",
                file="probe/fresh/stdout.log",
            ),
        )
    )
