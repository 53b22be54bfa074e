"""A prediction that depends on which token is realised, other than through its probability."""

from verifier.data_flow.values import DORMANT, GATE, HINDSIGHT, NATIVE_CALL
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase, flow_result


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Decisions by the kind of the present token, and choices of the better prediction."""
    messages = {
        GATE: "what is predicted at a position is decided by the kind of token that stands there",
        HINDSIGHT: "of two predictions the one that did better on the realised token is kept",
    }
    found = [
        (odd, t) for prefix, t in messages.items() for odd in case.trace.claimed_oddities(prefix)
    ]
    findings = [
        Finding(message=text, file=odd.place.file, line=odd.place.line, evidence=odd.place.code)
        for odd, text in found
        if DORMANT not in odd.marks
    ]
    if found and not findings:
        place = found[0][0].place
        return cannot_tell(
            f"{place.file}:{place.line} reads the present token, but an expert's strength is set "
            "to zero around it; whether it is this one's cannot be followed"
        )
    native = case.trace.claimed_oddities(NATIVE_CALL)
    if native and not findings:
        place = native[0].place
        return cannot_tell(
            f"{place.file}:{place.line} hands validation tokens to native code that shapes the "
            "prediction; whether it reads the present one cannot be followed"
        )
    return flow_result(case.trace, findings)
