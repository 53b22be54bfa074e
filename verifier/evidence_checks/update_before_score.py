"""An optimizer step with a token's gradient must not come before the score of the token."""

from verifier.evidence_checks.base import EvidenceCase, ledger_record, nothing_noted
from verifier.findings import CheckResult, Finding
from verifier.schemas.rule_yaml import Rule


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """By the order of losses and steps that the instrument noted."""
    ledger = ledger_record(case)
    if isinstance(ledger, CheckResult):
        return ledger
    late, share = ledger.num_learned_before, rule.parameters["max_share"]
    if late > share * ledger.num_scored:
        message = (
            f"{late:,} of {ledger.num_scored:,} tokens were learned before they were scored, "
            f"token {ledger.first_learned_before or 0:,} first; {ledger.num_steps:,} optimizer "
            "steps were made before the last score"
        )
        return CheckResult(findings=(Finding(message=message, file="probe/base/stdout.log"),))
    return nothing_noted(case, ledger)
