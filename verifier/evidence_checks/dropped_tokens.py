"""Every token of the tape must be scored, but for a rest shorter than a sequence."""

from verifier.evidence_checks.base import EvidenceCase, floor_record
from verifier.findings import CheckResult, Finding
from verifier.schemas.rule_yaml import Rule


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """By the script's own count, and by the losses that it wrote."""
    record = floor_record(case)
    if isinstance(record, CheckResult):
        return record
    num_targets = record.world.num_targets
    fewest = num_targets - rule.parameters["customary_tail_tokens"]
    counts = {"says that it scored": record.stated_tokens, "wrote losses of": record.num_losses}
    return CheckResult(
        findings=tuple(
            Finding(message=f"it {words} {count:,} of the tape's {num_targets:,} tokens")
            for words, count in counts.items()
            if count is not None and count <= fewest
        )
    )
