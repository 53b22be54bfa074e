"""The protocol of a static check: (PaperCase, Rule) → CheckResult. Static means nothing is run."""

from collections.abc import Callable
from dataclasses import dataclass

from verifier.claims.seed_by_seed import Claims
from verifier.data_flow.orders import learned_from_untold_file
from verifier.data_flow.trace import Trace
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.intake.submission import Submission
from verifier.reading.program import Program
from verifier.schemas.rule_yaml import Rule
from verifier.schemas.track_yaml import Track


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperCase:
    """All that a static check may look at."""

    submission: Submission
    claims: Claims
    program: Program
    trace: Trace
    track: Track


StaticCheck = Callable[[PaperCase, Rule], CheckResult]


def flow_result(trace: Trace, findings: list[Finding]) -> CheckResult:
    """What was found by following the script; where it was not followed to a score, say so."""
    reason = trace.stopped
    if reason is None and not trace.claimed_scores():
        reason = "no validation loss could be followed to a printed BPB"
    return CheckResult(findings=tuple(findings), not_evaluated=reason)


def cannot_tell_what_is_learned(trace: Trace) -> CheckResult | None:
    """Where weights learn from a file that may hold either text: no pass is given."""
    update = learned_from_untold_file(trace)
    if update is None:
        return None
    place = update.place
    return cannot_tell(f"{place.file}:{place.line} learns from a file that may be of either text")


def fills_training_budget(case: PaperCase, shortest_reserve_seconds: float) -> bool:
    """Whether the claimed runs trained to the end of the budget, so that nothing was kept back."""
    budget = case.track.limits.train_seconds.value
    trained = [log.log.train_seconds for log in case.claims.logs if log.log.train_seconds]
    longest = max(trained, default=0.0)
    is_kept_back = case.trace.reserves_time and longest < budget
    return longest > budget - shortest_reserve_seconds and not is_kept_back
