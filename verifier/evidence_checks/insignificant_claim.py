"""The profile's test of the claimed scores against the record that stood before."""

from verifier.evidence_checks.base import EvidenceCase
from verifier.findings import PASSED, CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """Claims decide nothing, but what they do not show themselves no run has to look for."""
    test = case.claimed_significance
    if isinstance(test, str):
        return cannot_tell(test)
    if test.passed:
        return PASSED
    claimed = ", ".join(f"{value:.5f}" for value in test.challenger_bpb)
    prior = ", ".join(f"{value:.5f}" for value in test.prior_bpb)
    return CheckResult(
        findings=(
            Finding(
                message=f"claimed gain {test.gain_bpb:+.5f} BPB over {test.prior} with margin "
                f"{test.margin_bpb:.5f}: p = {test.p_value:.4g}, not below {test.alpha:g}",
                evidence=f"{test.test}; claimed {claimed}; prior {prior}",
            ),
        )
    )
