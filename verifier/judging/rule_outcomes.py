"""Run the checks of a rulebook: each rule gets exactly one answer, and a check that fails none."""

from collections.abc import Callable
from typing import TypeVar

from verifier.errors import RulebookError
from verifier.evidence_checks import EVIDENCE_CHECKS
from verifier.evidence_checks.base import EvidenceCase, EvidenceCheck
from verifier.findings import CheckResult, Outcome, Severity, cannot_tell
from verifier.rulebook import Rulebook
from verifier.schemas.rule_record_json import FindingRecord, RuleRecord
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks import STATIC_CHECKS
from verifier.static_checks.base import PaperCase

Case = TypeVar("Case")
SMALL_RUNGS = {
    "rehearsal": "in rehearsal",
    "floor": "in the floor run",
    "probe": "in the probed run",
}


def static_outcomes(case: PaperCase, rulebook: Rulebook) -> tuple[RuleRecord, ...]:
    """The answers of the track's static rules.

    Raises:
        RulebookError: a rule has no check.
    """
    return _outcomes("static", rulebook, case, STATIC_CHECKS)


def evidence_outcomes(case: EvidenceCase, rulebook: Rulebook) -> tuple[RuleRecord, ...]:
    """The answers of the track's evidence rules.

    Raises:
        RulebookError: a rule has no check.
    """
    checks = EVIDENCE_CHECKS
    rung = case.evidence.plan.rung if case.evidence is not None else None
    if rung in SMALL_RUNGS:
        checks = {name: _in_small(check, rung) for name, check in checks.items()}
    return _outcomes("evidence", rulebook, case, checks)


def _in_small(check: EvidenceCheck, rung: str) -> EvidenceCheck:
    """Most rules are about full runs: what a small one saw of them is told and decides nothing."""

    def answer(case: EvidenceCase, rule: Rule) -> CheckResult:
        result = check(case, rule)
        if rule.decided_from in ("rehearsal", rung):
            return result
        found = result.findings[0].message if result.findings else result.not_evaluated
        return cannot_tell(
            f"{SMALL_RUNGS[rung]}: {found or 'nothing against it'}; full runs decide"
        )

    return answer


def _outcomes(
    stage: str,
    rulebook: Rulebook,
    case: Case,
    checks: dict[str, Callable[[Case, Rule], CheckResult]],
) -> tuple[RuleRecord, ...]:
    records = []
    for rule in rulebook.rules.values():
        if rule.stage != stage:
            continue
        if rule.id not in checks:
            raise RulebookError(f"rules/{rule.id}.yaml: no {stage} check bears its name")
        try:
            result = checks[rule.id](case, rule)
        except Exception as error:  # a check that fails must never read as a pass, whatever it met
            result = cannot_tell(f"the check failed: {type(error).__name__}: {error}")
        records.append(_record(rulebook, rule, result))
    return tuple(records)


def _record(rulebook: Rulebook, rule: Rule, result: CheckResult) -> RuleRecord:
    is_open = result.outcome is not Outcome.NOT_EVALUATED or result.keeps_open
    return RuleRecord(
        rule=rule.id,
        title=rule.title,
        since=rule.since,
        mend=rule.mend,
        source=rule.source,
        outcome=result.outcome,
        severity=rulebook.severity(rule.id) if is_open else Severity.INFO,
        violation_class=rule.violation_class,
        condition=rule.condition,
        reason=result.not_evaluated,
        findings=tuple(
            FindingRecord(message=f.message, file=f.file, line=f.line, evidence=f.evidence)
            for f in result.findings
        ),
    )
