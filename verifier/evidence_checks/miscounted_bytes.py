"""Loss and BPB must imply the bytes of a text that we made ourselves."""

from verifier.evidence_checks.base import EvidenceCase, floor_record
from verifier.findings import PASSED, CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """The whole interval that rounding leaves must lie beyond the tolerance."""
    record = floor_record(case)
    if isinstance(record, CheckResult):
        return record
    low, high = record.implied_bytes_low, record.implied_bytes_high
    num_bytes, tolerance = record.scored_bytes, rule.parameters["tolerance_relative"]
    if low is None or high is None or num_bytes is None:
        return cannot_tell("it printed no BPB beside its loss")
    if low <= num_bytes * (1 + tolerance) and high >= num_bytes * (1 - tolerance):
        return PASSED
    implied = (low + high) / 2
    return CheckResult(
        findings=(
            Finding(
                message=f"its loss and BPB imply {implied:,.0f} bytes of text, there are "
                f"{num_bytes:,} ({implied / num_bytes:.4f} times as many)"
            ),
        )
    )
