"""The bytes that logged loss and BPB imply, against the bytes of the whole validation text."""

import statistics
from collections.abc import Mapping

from verifier.claims import ImpliedBytes, LogClaim, plain_denominators
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase

_NAMED_RATIO = "ratio_"
_SAME_RATIO = 0.01


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """The plain model's pairs decide; a headline that alone deviates mixes in something else."""
    findings, reasons = [], []
    for claim in case.claims.claiming_logs:
        implied = scored_text(claim)
        if implied is None:
            reasons.append(f"{claim.file.path}: tokens, loss and BPB are not all printed")
        elif _is_too_many(claim, implied, rule.parameters):
            findings.append(_finding(claim, implied, rule.parameters))
        elif _headline_deviates(claim, implied, rule.parameters["tolerance_relative"]):
            reasons.append(
                f"{claim.file.path}: the headline's loss and BPB are not over the text that the "
                "plain model's are; a byte-level mixture cannot be held against its bytes"
            )
    if not findings and not case.claims.claiming_logs:
        reasons.append("no log carries a final score that could be read")
    if findings or not reasons:
        return CheckResult(findings=tuple(findings))
    return cannot_tell(reasons[0])


def scored_text(claim: LogClaim) -> ImpliedBytes | None:
    """The bytes behind a log's plain figures, else behind its headline.

    The tightest pair is taken of those near the median, so that one odd line decides nothing.
    """
    plain = plain_denominators(claim.log)
    if not plain:
        return claim.implied_validation_bytes
    middle = statistics.median(pair.value for pair in plain)
    return min(plain, key=lambda pair: (not pair.low <= middle <= pair.high, pair.high - pair.low))


def _is_too_many(claim: LogClaim, implied: ImpliedBytes, known: Mapping[str, float]) -> bool:
    full = known["full_text_bytes"]
    if claim.log.val_tokens == known["launch_scored_tokens"]:
        full = known["launch_text_bytes"]
    return implied.low > full * (1 + known["tolerance_relative"])


def _headline_deviates(claim: LogClaim, plain: ImpliedBytes, tolerance: float) -> bool:
    headline = claim.implied_validation_bytes
    return headline is not None and (
        headline.low > plain.high * (1 + tolerance) or headline.high < plain.low * (1 - tolerance)
    )


def _finding(claim: LogClaim, implied: ImpliedBytes, known: Mapping[str, float]) -> Finding:
    ratio = implied.value / known["full_text_bytes"]
    near = [
        name.removeprefix(_NAMED_RATIO).replace("_", " ")
        for name, value in known.items()
        if name.startswith(_NAMED_RATIO) and abs(ratio / value - 1) <= _SAME_RATIO
    ]
    explanation = f"; a ratio seen with: {near[0]}" if near else ""
    headline = claim.log.headline
    return Finding(
        message=f"the figures imply {implied.value:,.0f} bytes, {ratio:.4f} times the validation "
        f"text{explanation}",
        file=str(claim.file.path),
        line=headline.line if headline else None,
        evidence=f"{claim.log.val_tokens:,} tokens; with rounding {implied.low:,.0f} to "
        f"{implied.high:,.0f} bytes",
    )
