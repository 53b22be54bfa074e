"""What a check may say: a finding at a place, the outcome of a rule; and a table of checks."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

Check = TypeVar("Check", covariant=True)


class Outcome(StrEnum):
    """The three answers of a rule; `not_evaluated` is never a pass."""

    PASSED = "passed"
    BROKEN = "broken"
    NOT_EVALUATED = "not_evaluated"


class Severity(StrEnum):
    """What a broken rule costs: the verdict, a warning, or nothing."""

    REJECT = "reject"
    WARN = "warn"
    INFO = "info"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One breach at one place, with the evidence line that shows it."""

    message: str
    file: str | None = None
    line: int | None = None
    evidence: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """What one check saw. `not_evaluated` holds the reason when it could not see enough."""

    findings: tuple[Finding, ...] = ()
    not_evaluated: str | None = None
    keeps_open: bool = True
    """Whether a rule that was not evaluated keeps the verdict from being `accepted`."""

    @property
    def outcome(self) -> Outcome:
        """Broken if anything was found, else not evaluated if a reason stands, else passed."""
        if self.findings:
            return Outcome.BROKEN
        return Outcome.NOT_EVALUATED if self.not_evaluated else Outcome.PASSED


PASSED = CheckResult()


def cannot_tell(reason: str) -> CheckResult:
    """The check saw too little to answer."""
    return CheckResult(not_evaluated=reason)


def not_offered(reason: str) -> CheckResult:
    """The submission or the user did not offer what the check needs, and no rule asks for it."""
    return CheckResult(not_evaluated=reason, keeps_open=False)


class CheckModule(Protocol[Check]):
    """A module that is named for its rule and answers it by one function."""

    __name__: str

    @property
    def check(self) -> Check: ...


def by_rule(*modules: CheckModule[Check]) -> dict[str, Check]:
    """Each module's check under the name of its rule."""
    return {module.__name__.rpartition(".")[2]: module.check for module in modules}
