"""Weights that learn validation tokens before these are scored."""

from verifier.data_flow.orders import learned_before_scored
from verifier.findings import CheckResult, Finding
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase, flow_result


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """One finding an update: where it steps, and which score comes after it."""
    findings = [
        Finding(
            message="weights are updated on validation tokens before these are scored "
            f"({sequence.score.place.file}:{sequence.score.place.line})",
            file=sequence.update.place.file,
            line=sequence.update.place.line,
            evidence=sequence.update.place.code,
        )
        for sequence in learned_before_scored(case.trace)
    ]
    return flow_result(case.trace, findings)
