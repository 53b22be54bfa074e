"""Seeds that submission.json lists, against the seeds of the logs."""

from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Logs that name no seed may be any seed's."""
    listed = set(case.claims.metadata.seeds) if case.claims.metadata else set()
    if not listed:
        return cannot_tell("submission.json lists no seeds")
    if any(log.seed is None for log in case.claims.logs):
        return cannot_tell("a log names no seed")
    logged = {log.seed for log in case.claims.logs} | {log.seed_in_name for log in case.claims.logs}
    missing = sorted(listed - logged)
    if not missing or not case.claims.logs:  # no log at all is another rule's finding
        return CheckResult()
    named = ", ".join(map(str, missing))
    return CheckResult(
        findings=(Finding(message=f"no log for the listed seeds {named}", file="submission.json"),)
    )
