"""Weights that were trained, reach the claimed score and are in no file."""

from verifier.data_flow.orders import learned_but_not_saved
from verifier.findings import CheckResult, Finding
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase, flow_result


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """One finding an optimizer step."""
    places = dict.fromkeys(found.update.place for found in learned_but_not_saved(case.trace))
    findings = [
        Finding(
            message="these weights are trained and reach the claimed score, and no file that the "
            "script writes holds them",
            file=place.file,
            line=place.line,
            evidence=place.code,
        )
        for place in places
    ]
    return flow_result(case.trace, findings)
