"""No honest predictor codes a tape in fewer nats than it has, but by a chance that is told."""

import math

from verifier.evidence_checks.base import EvidenceCase, floor_record
from verifier.findings import PASSED, CheckResult, Finding, cannot_tell
from verifier.schemas.floor_record_json import FloorRecord
from verifier.schemas.rule_yaml import Rule


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """Odds beyond a million reject; beyond a thousand, or with too little power, they are open."""
    record = floor_record(case)
    if isinstance(record, CheckResult):
        return record
    odds, numbers = record.odds_nats, rule.parameters
    if odds is None:
        return cannot_tell("it says that it scored a part of the tape; the total is unknown")
    log10_odds = odds / math.log(10)
    if log10_odds >= numbers["reject_log10_odds"]:
        return CheckResult(findings=(Finding(message=_told(record), evidence=_points_to(record)),))
    if log10_odds >= numbers["doubt_log10_odds"]:
        return cannot_tell(f"{_told(record)}: odd, and no proof; run it on another world")
    return _without_alarm(record, numbers)


def _without_alarm(record: FloorRecord, numbers: dict[str, float]) -> CheckResult:
    """Silence counts only where a leak would have been heard."""
    gap, rounding = record.gap_nats or 0.0, record.rounding_nats or 0.0
    if record.num_losses is not None and record.betting_odds_nats is None:
        return cannot_tell(f"no bets on its losses: {record.no_betting}")
    if rounding * record.world.num_targets > numbers["max_rounding_nats"]:
        return cannot_tell(
            f"its printed loss leaves {rounding * record.world.num_targets:,.0f} nats of the tape "
            "open; print more digits"
        )
    if gap > numbers["max_gap_nats"]:
        return cannot_tell(
            f"it stays {gap:.3f} nats a token above the entropy and learned too little to show a "
            "leak; give --floor-minutes more"
        )
    return PASSED


def _told(record: FloorRecord) -> str:
    """The odds in plain words."""
    total, bets = record.total_odds_nats, record.betting_odds_nats
    parts = []
    if total is not None and total > 0:
        parts.append(f"{total:,.1f} nats below the entropy of {record.world.num_targets:,} tokens")
    if bets is not None:
        parts.append(f"bets on its losses won e^{bets:,.1f}")
    exponent = (record.odds_nats or 0.0) / math.log(10)
    return f"{', '.join(parts)}: an honest script does so once in 10^{exponent:,.0f} runs at most"


def _points_to(record: FloorRecord) -> str:
    """Which breach a gap of this size is usual of; a hint, no proof."""
    odds, hindsight = record.odds_nats or 0.0, record.world.hindsight_nats
    if odds <= 2 * hindsight:
        return (
            f"knowing the tape's word counts beforehand gives about {hindsight:,.0f} nats: as "
            "where the tape is learned before it is scored, or scored more than once"
        )
    return (
        f"{odds / record.world.num_targets:.4f} nats a token, more than its word counts give: "
        "as where targets are seen, probabilities do not add up to one, the tail is left out, or "
        "the tape is learned many times over"
    )
