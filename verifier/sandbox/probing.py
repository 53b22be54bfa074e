"""Before every run: the checks on which the report's guarantees rest, folded into grades."""

from pathlib import Path

from verifier.endings import Grade
from verifier.errors import SandboxUnavailableError
from verifier.sandbox.base import Enforcement, Sandbox
from verifier.sandbox.conformance.checks import AT_START, Answer
from verifier.sandbox.conformance.suite import run_checks_at_once

FROM_STRONG_TO_WEAK: tuple[Grade, ...] = ("proved", "configured", "observed", "absent")


def probe_guarantees(sandbox: Sandbox, scratch: Path) -> tuple[Enforcement, ...]:
    """Try everything that a guarantee rests on, and grade each guarantee.

    Raises:
        SandboxUnavailableError: the sandbox could not start or not run its own probes.
    """
    try:
        return grade_guarantees(run_checks_at_once(sandbox, AT_START, scratch))
    except OSError as error:
        raise SandboxUnavailableError(
            f"{scratch}: {error.strerror}; the sandbox could not be probed there"
        ) from error


def grade_guarantees(answers: tuple[Answer, ...]) -> tuple[Enforcement, ...]:
    """The weakest grade that any of its checks leaves to each guarantee."""
    names = dict.fromkeys(a.check.guarantee for a in answers if a.check.guarantee is not None)
    return tuple(_graded(name, [a for a in answers if a.check.guarantee == name]) for name in names)


def _graded(name: str, answers: list[Answer]) -> Enforcement:
    tried = [answer for answer in answers if answer.outcome != "not_applicable"]
    broken = [answer for answer in tried if answer.outcome == "not_held"]
    if not tried:
        reasons = "; ".join(answer.reason for answer in answers)
        return Enforcement(name=name, grade="absent", detail=f"nothing could be tried: {reasons}")
    if not broken:
        detail = f"tried from inside, {len(tried)} checks held (see pgolf-verify doctor)"
        return Enforcement(name=name, grade="proved", detail=detail)
    grade = max((a.check.otherwise for a in broken), key=FROM_STRONG_TO_WEAK.index)
    detail = "; ".join(f"{a.check.name}: {a.reason}" for a in broken[:3])
    return Enforcement(name=name, grade=grade, detail=detail)
