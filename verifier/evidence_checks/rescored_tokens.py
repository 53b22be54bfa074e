"""The printed score must be the mean of one pass, not of the best of several."""

from verifier.evidence_checks.base import EvidenceCase, ledger_record, nothing_noted
from verifier.findings import CheckResult, Finding
from verifier.schemas.rule_yaml import Rule


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """By the losses that the instrument noted."""
    ledger = ledger_record(case)
    if isinstance(ledger, CheckResult):
        return ledger
    if ledger.is_best_of_several:
        message = (
            f"the printed loss of {ledger.printed_nats or 0.0:.6f} nats is the mean of each "
            f"token's least of {ledger.num_noted:,} noted losses, and no pass's own"
        )
        return CheckResult(findings=(Finding(message=message, file="probe/base/stdout.log"),))
    return nothing_noted(case, ledger)
