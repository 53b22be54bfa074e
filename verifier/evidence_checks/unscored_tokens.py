"""Every token has a loss, and the loss is that token's."""

from verifier.evidence_checks.base import EvidenceCase, nothing_seen, probe_record
from verifier.findings import CheckResult, Finding
from verifier.schemas.rule_yaml import Rule


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """By the number of losses, and by whether they hear when their tokens change."""
    record, numbers = case.evidence.probe if case.evidence else None, rule.parameters
    findings = []
    if record is not None and record.num_losses is not None:
        if record.num_targets - record.num_losses >= numbers["customary_tail_tokens"]:
            text = f"it wrote {record.num_losses:,} losses of {record.num_targets:,} tokens"
            findings.append(Finding(message=text, file="probe/base/stdout.log"))
    if record is not None and record.deaf_drawn >= numbers["min_deaf_drawn"]:
        text = (
            f"from token {record.deaf_from or 0:,} on, {record.deaf_drawn:,} tokens in a row were "
            "replaced by others and kept their losses to the last bit, or have their neighbours'"
        )
        findings.append(Finding(message=text, file="probe/spliced/stdout.log"))
    if findings:
        return CheckResult(findings=tuple(findings))
    known = probe_record(case)
    return known if isinstance(known, CheckResult) else nothing_seen(case)
