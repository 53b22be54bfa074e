"""A prediction that depends on which token is realised, other than through its probability."""

import ast
from collections.abc import Iterator

from verifier.data_flow.native_gate import MAX_CHARACTERS, NATIVE_SUFFIXES, native_gates
from verifier.data_flow.trace import Oddity
from verifier.data_flow.values import DORMANT, GATE, HINDSIGHT, NATIVE_CALL
from verifier.data_flow.written_targets import writes_at_targets
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.intake.bounded_files import read_bounded
from verifier.reading.called_names import finding_at
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase, flow_result


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Decisions by the present token, choices of the better prediction, and logits set for it."""
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
    findings += [
        finding_at(module, statement, "the logits are written to under the realised token's index")
        for module, statement in writes_at_targets(case.program, case.trace)
    ]
    if found and not findings:
        place = found[0][0].place
        return cannot_tell(
            f"{place.file}:{place.line} reads the present token, but an expert's strength is set "
            "to zero around it; whether it is this one's cannot be followed"
        )
    native = case.trace.claimed_oddities(NATIVE_CALL)
    if native and not findings:
        return _native_result(case, native)
    return flow_result(case.trace, findings)


def _native_result(case: PaperCase, calls: list[Oddity]) -> CheckResult:
    """A gate in the native code that the script names; without one nothing can be told."""
    findings = [
        Finding(
            message="native code asks what kind of token stands at a position before it writes "
            "the prediction for it",
            file=name,
            line=first_line + gate.line - 1,
            evidence=gate.code,
        )
        for name, first_line, text in _native_sources(case)
        for gate in native_gates(text)
    ]
    if findings and not all(DORMANT in call.marks for call in calls):
        return CheckResult(findings=tuple(findings))
    place = calls[0].place
    return cannot_tell(
        f"{place.file}:{place.line} hands validation tokens to native code that shapes the "
        "prediction; whether it reads the present one cannot be followed"
    )


def _native_sources(case: PaperCase) -> Iterator[tuple[str, int, str]]:
    """Name, first line and text of each source of another language that the script names."""
    for file in case.program.named:
        is_source = file.path.suffix.lower() in NATIVE_SUFFIXES
        if is_source and file.num_bytes <= MAX_CHARACTERS:
            path = case.submission.root / file.path
            content = read_bounded(path, MAX_CHARACTERS, MAX_CHARACTERS)
            yield str(file.path), 1, content.head.decode("utf-8", "replace")
    for module in case.program.modules:
        for literal in module.of_kind(ast.Constant):
            if isinstance(literal.value, str) and "#include" in literal.value:
                yield module.name, literal.lineno, literal.value
