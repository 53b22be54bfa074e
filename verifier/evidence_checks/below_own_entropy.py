"""A text that its own model wrote may not be coded in fewer nats than it has."""

from verifier.evidence_checks.base import EvidenceCase
from verifier.findings import PASSED, CheckResult, Finding, cannot_tell, not_offered
from verifier.schemas.rule_yaml import Rule
from verifier.schemas.stream_record_json import NO_STREAM


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """By the odds of all tokens together, and of bets on single ones."""
    record = case.evidence.sampled if case.evidence else None
    if record is None:
        return not_offered("its predictor wrote no text; --rung stream lets it")
    if record.not_evaluated == NO_STREAM:
        return not_offered(f"{NO_STREAM}; docs/stream.md shows one")
    total, bets = record.total_odds_nats, record.betting_odds_nats
    if total is None or bets is None:
        return cannot_tell(record.not_evaluated or "its evaluation did not score its own text")
    odds = max(total, bets)
    if odds < rule.parameters["odds_nats"]:
        return PASSED
    return CheckResult(
        findings=(
            Finding(
                message=f"seed {record.seed}: evaluation scores {record.num_targets:,} tokens that "
                f"its own predictor wrote lower than they are likely, at odds of e^{odds:,.0f}",
                file="probe/sampled/stdout.log",
                evidence=f"{record.entropy_nats} nats a token as drawn, "
                f"{record.evaluated_nats} as evaluated",
            ),
        )
    )
