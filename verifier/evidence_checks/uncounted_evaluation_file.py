"""Every file that was opened while evaluation ran must count, be data, or belong to a package."""

from verifier.evidence_checks.artifact_ignored import UNDIVIDED
from verifier.evidence_checks.base import EvidenceCase, log_file
from verifier.findings import CheckResult, Finding, cannot_tell, not_offered
from verifier.schemas.rule_yaml import Rule

MAX_NAMED = 5


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """Code, artifact and what evaluation makes itself are all that its folder ever holds."""
    if case.evidence is None:
        return cannot_tell("nothing was run")
    if case.evidence.plan.evaluation is None:
        return not_offered(UNDIVIDED)
    findings = tuple(
        Finding(
            message=f"seed {seed.seed}: opened {', '.join(names[:MAX_NAMED])}"
            + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""),
            file=log_file(seed),
        )
        for seed in case.completed
        if seed.cold_start and (names := seed.cold_start.uncounted)
    )
    if not case.completed:
        return cannot_tell("no seed completed")
    lost = [s.seed for s in case.completed if not (s.cold_start and s.cold_start.is_complete)]
    reason = f"seed {lost[0]}: the kernel did not tell of every file" if lost else None
    return CheckResult(findings=findings, not_evaluated=reason)
