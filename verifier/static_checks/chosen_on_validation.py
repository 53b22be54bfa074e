"""Weights that are chosen by their score on the validation tokens, or the better of two scores."""

from verifier.findings import CheckResult, Finding
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase, flow_result


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """One finding a choice on which the claimed score depends."""
    findings = [
        Finding(
            message="the score depends on which of several did better on the validation tokens",
            file=odd.place.file,
            line=odd.place.line,
            evidence=odd.place.code,
        )
        for odd in case.trace.choices()
    ]
    return flow_result(case.trace, findings)
