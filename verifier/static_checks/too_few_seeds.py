"""Distinct seeds whose logs carry a final score, against the track's minimum."""

from verifier.findings import PASSED, CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Logs that name no seed count as one run each, because each may be a seed of its own."""
    scored = [log for log in case.claims.logs if log.val_bpb is not None]
    named = {log.seed for log in scored if log.seed is not None}
    unnamed = [log for log in scored if log.seed is None]
    wanted = int(case.track.min_seeds.value)
    if len(named) >= wanted:
        return PASSED
    if len(named) + len(unnamed) >= wanted:
        return cannot_tell(f"{len(unnamed)} logs with a score name no seed")
    listed = ", ".join(str(seed) for seed in sorted(named)) or "none"
    return CheckResult(
        findings=(
            Finding(
                message=f"seeds with a final score in a log: {len(named) + len(unnamed)}; "
                f"the track asks for {wanted}",
                evidence=f"seeds: {listed}",
            ),
        )
    )
