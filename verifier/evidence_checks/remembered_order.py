"""The order of documents may not be known."""

from verifier.evidence_checks.base import EvidenceCase, nothing_seen, probe_record
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """By the share of coins that favour the text's own order as much."""
    record = probe_record(case)
    if isinstance(record, CheckResult):
        return record
    p_value, gain = record.order_p, record.order_gain_nats
    if 0.5**record.num_blocks > rule.parameters["max_p"]:
        return cannot_tell(
            f"{record.num_documents:,} documents make {record.num_blocks} blocks, and so few coins "
            "fall alike too often to tell anything"
        )
    if p_value is None or gain is None:
        return cannot_tell("no rearranged documents were scored")
    if p_value > rule.parameters["max_p"]:
        return nothing_seen(case)
    message = (
        f"documents in their own order have {gain:.4f} nats a token less than rearranged; drawn by "
        f"lot, {record.num_blocks} blocks favour an order as much with p = {p_value:.2g}"
    )
    return CheckResult(findings=(Finding(message=message, file="probe/shuffled_1/stdout.log"),))
