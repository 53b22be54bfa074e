"""Statistics for quantisation gathered on validation tokens, or on training data off the clock."""

from verifier.data_flow.trace import Calibration
from verifier.data_flow.values import VALIDATION
from verifier.findings import CheckResult, Finding
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase, fills_training_budget, flow_result


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Calibration on training data is in order where part of the training budget is kept for it."""
    findings = []
    reserve = rule.parameters["shortest_reserve_seconds"]
    for calibration in case.trace.of_kind(Calibration):
        if VALIDATION in calibration.marks:
            findings.append(_finding(calibration, "the model is calibrated on validation tokens"))
        elif fills_training_budget(case, reserve):
            findings.append(
                _finding(
                    calibration,
                    "quantisation is calibrated on training data after a training loop that used "
                    "the whole budget; no part of it is reserved",
                )
            )
    return flow_result(case.trace, findings[:1])


def _finding(calibration: Calibration, message: str) -> Finding:
    place = calibration.place
    return Finding(message=message, file=place.file, line=place.line, evidence=place.code)
