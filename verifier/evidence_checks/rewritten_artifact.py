"""Code and artifact must be the same bytes after evaluation as before."""

from verifier.evidence_checks.artifact_ignored import UNDIVIDED
from verifier.evidence_checks.base import EvidenceCase, log_file
from verifier.findings import CheckResult, Finding, cannot_tell, not_offered
from verifier.schemas.rule_yaml import Rule


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """By hash, seed by seed."""
    if case.evidence is None:
        return cannot_tell("nothing was run")
    if case.evidence.plan.evaluation is None:
        return not_offered(UNDIVIDED)
    seen = [(seed, seed.cold_start) for seed in case.completed if seed.cold_start]
    if not seen:
        return cannot_tell("no seed completed")
    return CheckResult(
        findings=tuple(
            Finding(
                message=f"seed {seed.seed}: {', '.join(cold_start.rewritten)} changed during it",
                file=log_file(seed),
            )
            for seed, cold_start in seen
            if cold_start.rewritten
        )
    )
