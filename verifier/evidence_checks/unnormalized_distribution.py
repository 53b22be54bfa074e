"""Bets on tokens that nobody could know win only where probabilities add up to more than one."""

import math

from verifier.evidence_checks.base import EvidenceCase, nothing_seen, probe_record
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """Odds beyond a million reject; beyond a thousand, or with few drawn tokens, they are open."""
    record = probe_record(case)
    if isinstance(record, CheckResult):
        return record
    log_sum = record.ledger.largest_log_sum if record.ledger else 0.0
    if log_sum > rule.parameters["max_log_sum_nats"]:
        said = f"it scored by logarithms of probabilities that add up to e^{log_sum:.4g}"
        return CheckResult(findings=(Finding(message=said, file="probe/base/stdout.log"),))
    odds, total, numbers = record.vocabulary_odds_nats, record.vocabulary_sum, rule.parameters
    if odds is None or total is None:
        return cannot_tell("the text with drawn tokens was not scored")
    error = "" if record.vocabulary_error is None else f" ± {record.vocabulary_error:.2g}"
    told = (
        f"probabilities before {record.num_spliced:,} drawn tokens add up to {total:.4g}{error} "
        f"over the vocabulary, on average; an honest script wins such bets once in "
        f"10^{odds / math.log(10):,.0f} runs"
    )
    if odds / math.log(10) >= numbers["reject_log10_odds"]:
        return CheckResult(findings=(Finding(message=told, file="probe/spliced/stdout.log"),))
    if odds / math.log(10) >= numbers["doubt_log10_odds"]:
        return cannot_tell(f"{told}: odd, and no proof; probe it again")
    if record.num_spliced < numbers["min_drawn"]:
        return cannot_tell(f"{record.num_spliced:,} drawn tokens are too few to tell")
    return nothing_seen(case)
