"""Validation documents may not be easier than training documents."""

from verifier.evidence_checks.base import EvidenceCase, nothing_seen, probe_record
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """By the mean losses of both, and how much documents differ among themselves."""
    record = probe_record(case)
    if isinstance(record, CheckResult):
        return record
    gap, error, numbers = record.over_training_nats, record.over_training_error, rule.parameters
    if gap is None or error is None:
        return cannot_tell("documents of the training data were not scored")
    if -gap > max(numbers["min_gap_nats"], numbers["min_errors"] * error):
        message = (
            f"validation documents have {-gap:.3f} ± {error:.2g} nats a token less than documents "
            "that it was given to learn"
        )
        return CheckResult(findings=(Finding(message=message, file="probe/training/stdout.log"),))
    return nothing_seen(case)
