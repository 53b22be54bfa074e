"""Documents that were drawn by lot may not be known before their first copy was scored."""

from verifier.evidence_checks.base import EvidenceCase, nothing_seen, probe_record
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """By what bets on the worst known copy of each won."""
    record = probe_record(case)
    if isinstance(record, CheckResult):
        return record
    odds, bits = record.canary_odds_nats, record.canary_bits
    if odds is None or bits is None:
        return cannot_tell("the tape with canaries was not scored")
    if odds < rule.parameters["odds_nats"]:
        return nothing_seen(case)
    message = (
        f"{record.num_canaries} documents drawn by lot are known before they are shown: bets win "
        f"e^{odds:,.0f}, the middle one is known by {bits:+.0f} bits in all its copies"
    )
    return CheckResult(findings=(Finding(message=message, file="probe/canaries/stdout.log"),))
