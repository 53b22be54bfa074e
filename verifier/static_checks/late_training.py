"""Weights that learn on after a training loop that used the budget, alone or with calibration."""

import ast
import re

from verifier.data_flow.trace import Loop, Trace, Update
from verifier.data_flow.values import TRAINING, VALIDATION
from verifier.findings import CheckResult, Finding
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase, fills_training_budget, flow_result

_CLOCK = re.compile(r"perf_counter|monotonic|time\.time|elapsed|wallclock|deadline")


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """A loop behind the timed one; one that looks at a clock may lie inside the budget."""
    findings, spent = [], _how_it_was_spent(case, rule)
    if spent is not None:
        findings = [
            Finding(
                message=f"weights are updated on training data after a training loop that {spent}",
                file=loop.place.file,
                line=loop.place.line,
                evidence=loop.place.code,
            )
            for loop in _late_loops(case.trace)
            if _trains_untimed(loop, case)
        ]
    return flow_result(case.trace, findings[:1])


def _how_it_was_spent(case: PaperCase, rule: Rule) -> str | None:
    """What of the training budget is gone without the late loop; None while some may be left."""
    if fills_training_budget(case, rule.parameters["shortest_reserve_seconds"]):
        return "used the whole budget"
    latest = case.track.limits.train_seconds.value + rule.parameters["tolerated_seconds"]
    for log in (claim.log for claim in case.claims.claiming_logs):
        is_behind = log.lines.get("calibration_seconds", 0) > log.lines.get("train_seconds", 0) > 0
        took, calibrated = log.train_seconds or 0.0, log.calibration_seconds or 0.0
        if is_behind and took + calibrated > latest:
            return f"took {took:.1f} s, with {calibrated:.1f} s of calibration behind it"
    return None


def _late_loops(trace: Trace) -> list[Loop]:
    """The outermost loops that train behind the last `while` loop that does."""
    training = [
        update
        for update in trace.of_kind(Update)
        if TRAINING in update.marks and VALIDATION not in update.marks and update.loops
    ]
    timed = [update.order for update in training if any(map(_is_while, update.loops))]
    end = max(timed, default=None)
    return [update.loops[0] for update in training if end is not None and update.order > end]


def _is_while(loop: Loop) -> bool:
    return loop.place.code.startswith("while ")


def _trains_untimed(loop: Loop, case: PaperCase) -> bool:
    """Whether the loop's own lines differentiate a loss and name no clock."""
    for module in case.program.modules:
        for node in module.of_kind(ast.For) if module.name == loop.place.file else ():
            if node.lineno == loop.place.line:
                lines = module.text.splitlines()[node.lineno - 1 : node.end_lineno]
                text = "\n".join(lines)
                return "backward(" in text and _CLOCK.search(text) is None
    return False
