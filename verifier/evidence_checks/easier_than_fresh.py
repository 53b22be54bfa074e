"""Validation documents may not be easier than fresh documents of their source."""

from verifier.evidence_checks.base import EvidenceCase, fresh_record
from verifier.findings import PASSED, CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """By the share of drawn labels that make as large a gap, and by its size."""
    record = fresh_record(case)
    if isinstance(record, CheckResult):
        return record
    gap, p_value, numbers = record.gap_bpb, record.p_value, rule.parameters
    if gap is None or p_value is None:
        return cannot_tell("the fresh documents were not compared")
    if p_value > numbers["max_p"] or gap < numbers["min_gap_bpb"]:
        return PASSED
    return CheckResult(
        findings=(
            Finding(
                message=f"fresh documents take {gap:.4f} bits a byte more than validation "
                f"documents as hard; {p_value:.2g} of drawn labels make as large a gap",
                file="fresh.json",
                evidence=f"{record.num_validation} validation documents {record.validation_bpb}, "
                f"{record.num_fresh} documents of {record.source} {record.fresh_bpb}",
            ),
        )
    )
