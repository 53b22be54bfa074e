"""Calibration on data after a loop that left no time, or too little, for it."""

import re

from verifier.claims.seed_by_seed import LogClaim
from verifier.data_flow.trace import Calibration
from verifier.findings import CheckResult, Finding
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase, flow_result

_SELF_MADE = re.compile(r"(?i)self[- ]?gen|\bAR\b|autoregress|synthetic|random")


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """The log's own line where it has one, else the place in the code."""
    budget = case.track.limits.train_seconds.value
    latest = budget + rule.parameters["tolerated_seconds"]
    logs = [
        log for log in case.claims.claiming_logs if _seconds(log) > latest or _is_full(log, budget)
    ]
    findings = [finding for log in logs if (finding := _logged(log, budget))]
    full = any(_is_full(log, budget) for log in logs)
    if full and not findings and not case.trace.reserves_time:
        findings = [
            Finding(
                message=f"the loop used all of its {budget:g} s, and calibration on data follows",
                file=calibration.place.file,
                line=calibration.place.line,
                evidence=calibration.place.code,
            )
            for calibration in case.trace.of_kind(Calibration)
        ][:1]
    return flow_result(case.trace, findings)


def _is_full(claim: LogClaim, budget_seconds: float) -> bool:
    """Whether the loop alone used the budget."""
    return (claim.log.train_seconds or 0.0) >= budget_seconds


def _seconds(claim: LogClaim) -> float:
    """Loop and calibration, as far as the log times them."""
    return (claim.log.train_seconds or 0.0) + (claim.log.calibration_seconds or 0.0)


def _logged(claim: LogClaim, budget_seconds: float) -> Finding | None:
    """A log that says so; calibration within the loop is on its clock."""
    log = claim.log
    data, line = log.calibration_data, log.lines.get("calibration_data", 0)
    if data is None or _SELF_MADE.search(data) or line < log.lines.get("train_seconds", 0):
        return None
    took = f" for {log.calibration_seconds:g} s" if log.calibration_seconds else ""
    return Finding(
        message=f"the loop took {log.train_seconds:.1f} s of {budget_seconds:g} s, and "
        f"calibration on data follows{took}",
        file=str(claim.file.path),
        line=line,
        evidence=data,
    )
