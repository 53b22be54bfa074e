"""A prediction that depends on which token is realised, other than through its probability."""

from verifier.data_flow.values import GATE, HINDSIGHT
from verifier.findings import CheckResult, Finding
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase, flow_result


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Decisions by the kind of the present token, and choices of the better prediction."""
    messages = {
        GATE: "what is predicted at a position is decided by the kind of token that stands there",
        HINDSIGHT: "of two predictions the one that did better on the realised token is kept",
    }
    findings = [
        Finding(message=text, file=odd.place.file, line=odd.place.line, evidence=odd.place.code)
        for prefix, text in messages.items()
        for odd in case.trace.claimed_oddities(prefix)
    ]
    return flow_result(case.trace, findings)
