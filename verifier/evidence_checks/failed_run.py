"""Every assigned seed must complete with a final score."""

from verifier.evidence_checks.base import EvidenceCase, log_file
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """Crashes and violations are findings; our own failures leave the rule not evaluated."""
    if case.evidence is None:
        return cannot_tell("nothing was run")
    findings = tuple(
        Finding(message=f"seed {m.seed}: {m.outcome}: {m.detail}", file=log_file(m))
        for m in case.evidence.measurements
        if m.outcome in ("crash", "violation")
    )
    missing = set(case.evidence.plan.seeds) - {m.seed for m in case.evidence.measurements}
    infrastructure = [m for m in case.evidence.measurements if m.outcome == "infrastructure"]
    if infrastructure:
        failed = infrastructure[0]
        reason = (
            f"seed {failed.seed} failed for our reasons: {failed.detail}; mend that, and the same "
            "command with --resume runs it again"
        )
    elif missing:
        reason = f"seed {min(missing)} was not run"
    else:
        reason = None
    return CheckResult(findings=findings, not_evaluated=reason)
