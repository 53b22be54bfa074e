"""Optimizer steps on validation tokens before evaluation, on weights that are thrown away."""

from verifier.data_flow.orders import warmed_up
from verifier.findings import CheckResult, Finding
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase, flow_result


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """One finding a step whose weights no later score depends on."""
    findings = [
        Finding(
            message="optimizer steps on validation tokens before these are scored; the updated "
            "weights are not scored with",
            file=update.place.file,
            line=update.place.line,
            evidence=update.place.code,
        )
        for update in warmed_up(case.trace)
    ]
    return flow_result(case.trace, findings)
