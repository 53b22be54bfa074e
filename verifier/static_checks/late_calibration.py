"""Statistics for quantisation gathered on validation tokens, or on training data off the clock."""

from verifier.data_flow.trace import Calibration
from verifier.data_flow.values import VALIDATION
from verifier.findings import CheckResult, Finding
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase, flow_result


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Calibration on training data is in order where part of the training budget is kept for it."""
    findings = []
    for calibration in case.trace.of_kind(Calibration):
        if VALIDATION in calibration.marks:
            findings.append(_finding(calibration, "the model is calibrated on validation tokens"))
        elif _is_off_the_clock(case, rule):
            findings.append(
                _finding(
                    calibration,
                    "quantisation is calibrated on training data after a training loop that used "
                    "the whole budget; no part of it is reserved",
                )
            )
    return flow_result(case.trace, findings[:1])


def _is_off_the_clock(case: PaperCase, rule: Rule) -> bool:
    """Whether the claimed runs trained to the end of the budget, so that nothing was kept back."""
    budget = case.track.limits.train_seconds.value
    trained = [log.log.train_seconds for log in case.claims.logs if log.log.train_seconds]
    longest = max(trained, default=0.0)
    is_kept_back = case.trace.reserves_time and longest < budget
    return longest > budget - rule.parameters["shortest_reserve_seconds"] and not is_kept_back


def _finding(calibration: Calibration, message: str) -> Finding:
    place = calibration.place
    return Finding(message=message, file=place.file, line=place.line, evidence=place.code)
