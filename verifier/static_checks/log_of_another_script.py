"""Lines of the logs behind the claim that no shipped script prints."""

from verifier.findings import CheckResult, Finding
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """One finding a log: its first such line behind the end of training."""
    return CheckResult(
        findings=tuple(
            Finding(
                message=f"nothing in the folder prints '{line.label}'; other code made this run",
                file=line.file,
                line=line.line,
                evidence=line.text,
            )
            for line in case.trace.unprinted
        )
    )
