"""A score that nothing accepted ever came near is to be looked at by running."""

from verifier.evidence_checks.base import EvidenceCase
from verifier.findings import PASSED, CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """The measured gain over the record that stood before, else the claimed one."""
    measured, claimed = case.significance, case.claimed_gain
    if not isinstance(measured, str) and measured.gain_bpb is not None:
        kind, gain_bpb, prior = "measured", measured.gain_bpb, measured.prior
    elif isinstance(claimed, str):
        return cannot_tell(claimed)
    else:
        kind, gain_bpb, prior = "claimed", claimed.bpb, claimed.prior
    most_bpb = rule.parameters["largest_gain_bpb"]
    if gain_bpb <= most_bpb:
        return PASSED
    message = (
        f"{kind} gain of {gain_bpb:.3f} BPB over {prior}, where no accepted record gained more "
        f"than {most_bpb / 2:g}; --rung floor and --rung probe tell what it is made of"
    )
    return CheckResult(findings=(Finding(message=message),))
