"""The stated deviation against both deviations of the stated seeds."""

from statistics import pstdev, stdev

from verifier.findings import PASSED, CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Only where the stated figure tells the two apart."""
    stated = case.claims.metadata.val_bpb_std if case.claims.metadata else None
    values = case.claims.claimed_bpbs
    if stated is None or len(values) < 2:
        return cannot_tell("submission.json states no deviation, or fewer than two seeds")
    population, sample, rounding = pstdev(values), stdev(values), rule.parameters["rounding_bpb"]
    if abs(stated - population) > rounding or abs(stated - sample) <= rounding:
        return PASSED
    return CheckResult(
        findings=(
            Finding(
                message=f"states {stated:.6f}, the population deviation (ddof 0); "
                f"the sample deviation is {sample:.6f}",
                file="submission.json",
                evidence=", ".join(f"{value:.5f}" for value in values),
            ),
        )
    )
