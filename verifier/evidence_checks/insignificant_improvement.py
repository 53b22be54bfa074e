"""The profile's test of our scores against the prior record's."""

from verifier.evidence_checks.base import EvidenceCase
from verifier.findings import PASSED, CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """Broken when the test was computed and not passed; a test of too few runs tells nothing."""
    test = case.significance
    if isinstance(test, str):
        return cannot_tell(test)
    if test.passed is None:
        return cannot_tell("; ".join(test.warnings) or "the test could not be computed")
    if test.passed:
        return PASSED
    p_value = "not computed" if test.p_value is None else f"{test.p_value:.4g}"
    gain = "unknown" if test.gain_bpb is None else f"{test.gain_bpb:+.5f} BPB"
    return CheckResult(
        findings=(
            Finding(
                message=f"gain {gain} over {test.prior} with margin {test.margin_bpb:.5f}: "
                f"p = {p_value}, not below {test.alpha:g}",
                evidence=f"ours {_values(test.challenger_bpb)}; prior {_values(test.prior_bpb)}",
            ),
        )
    )


def _values(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.5f}" for value in values)
