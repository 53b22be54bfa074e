"""Code that runs and that nobody can read: compiled, computed at run time, or out of the folder."""

from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase

_COMPILED = (".so", ".pyd", ".dll", ".dylib", ".pyc", ".pyo", ".o", ".exe", ".whl", ".egg")


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Packed code that unpacks from literals is read and is no finding."""
    findings = [
        Finding(message=code.reason, file=code.file, line=code.line)
        for code in case.program.opaque
        if code.kind == "packed"
    ]
    findings += [
        Finding(message="compiled code, whose source nobody can check against it", file=str(f.path))
        for f in case.submission.files
        if f.path.suffix.lower() in _COMPILED
    ]
    if not findings and case.program.blind_spot is not None:
        return cannot_tell(case.program.blind_spot)
    return CheckResult(findings=tuple(findings))
