"""The bytes that logged loss and BPB imply, against the bytes of the whole validation text."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from verifier.claims.log_lines import FinalMetric
from verifier.claims.seed_by_seed import (
    ImpliedBytes,
    LogClaim,
    implied_validation_bytes,
    plain_denominators,
)
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.intake.submission import FileKind
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase

_NAMED_RATIO = "ratio_"
_SAME_RATIO = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pair:
    """A loss and a BPB that were stated together, and the bytes that they imply."""

    file: str
    line: int | None
    tokens: int
    implied: ImpliedBytes


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """The plain model's pairs decide; a headline that alone deviates mixes in something else.

    Where no log prints a pair, that of submission.json is held against the logs' tokens.
    """
    findings: list[Finding] = []
    reasons = []
    logs = case.claims.claiming_logs
    if not any(map(scored_text, logs)) and (pair := _stated_pair(case)) is not None:
        return _judge_stated(pair, rule.parameters)
    for claim in logs:
        implied = scored_text(claim)
        if implied is None:
            reasons.append(f"{claim.file.path}: tokens, loss and BPB are not all printed")
        elif found := _findings(_logged_pair(claim, implied), rule.parameters):
            findings += found
        elif _headline_deviates(claim, implied, rule.parameters["tolerance_relative"]):
            reasons.append(
                f"{claim.file.path}: the headline's loss and BPB are not over the text that the "
                "plain model's are; a byte-level mixture cannot be held against its bytes"
            )
    if not findings and not logs:
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


def _judge_stated(pair: _Pair, known: Mapping[str, float]) -> CheckResult:
    """It may be that of a mixture in bytes, so that only a known ratio breaks the rule."""
    findings = _findings(pair, known)
    if not findings or _explanation(pair, known):
        return CheckResult(findings=findings)
    return cannot_tell(
        f"{pair.file}: loss and BPB are not over the bytes of the validation text, and no log "
        "prints those of the plain model"
    )


def _logged_pair(claim: LogClaim, implied: ImpliedBytes) -> _Pair:
    headline = claim.log.headline
    return _Pair(
        file=str(claim.file.path),
        line=headline.line if headline else None,
        tokens=claim.log.val_tokens or 0,
        implied=implied,
    )


def _stated_pair(case: PaperCase) -> _Pair | None:
    """What submission.json says of the whole, with the tokens that every log says were scored."""
    stated, tokens = case.claims.metadata, {c.log.val_tokens for c in case.claims.logs} - {None}
    files = case.submission.of_kind(FileKind.METADATA)
    if stated is None or stated.val_loss is None or stated.val_bpb is None or len(tokens) != 1:
        return None
    metric = FinalMetric(
        line=1,
        label="submission.json",
        val_loss=stated.val_loss,
        val_bpb=stated.val_bpb,
        loss_decimals=_decimals(stated.val_loss),
        bpb_decimals=_decimals(stated.val_bpb),
    )
    (num_tokens,) = tokens
    implied = implied_validation_bytes(num_tokens, metric)
    if implied is None or num_tokens is None:
        return None
    return _Pair(file=str(files[0].path), line=None, tokens=num_tokens, implied=implied)


def _decimals(value: float) -> int:
    return len(f"{value:.12f}".rstrip("0").partition(".")[2])


def _headline_deviates(claim: LogClaim, plain: ImpliedBytes, tolerance: float) -> bool:
    headline = claim.implied_validation_bytes
    return headline is not None and (
        headline.low > plain.high * (1 + tolerance) or headline.high < plain.low * (1 - tolerance)
    )


def _findings(pair: _Pair, known: Mapping[str, float]) -> tuple[Finding, ...]:
    is_launch_text = pair.tokens == known["launch_scored_tokens"]
    full = known["launch_text_bytes" if is_launch_text else "full_text_bytes"]
    implied = pair.implied
    if implied.low <= full * (1 + known["tolerance_relative"]):
        return ()
    explanation = _explanation(pair, known)
    seen = f"; a ratio seen with: {explanation}" if explanation else ""
    return (
        Finding(
            message=f"the figures imply {implied.value:,.0f} bytes, "
            f"{implied.value / known['full_text_bytes']:.4f} times the validation text{seen}",
            file=pair.file,
            line=pair.line,
            evidence=f"{pair.tokens:,} tokens; with rounding {implied.low:,.0f} to "
            f"{implied.high:,.0f} bytes",
        ),
    )


def _explanation(pair: _Pair, known: Mapping[str, float]) -> str | None:
    """What has produced such a ratio before."""
    ratio = pair.implied.value / known["full_text_bytes"]
    near = [
        name.removeprefix(_NAMED_RATIO).replace("_", " ")
        for name, value in known.items()
        if name.startswith(_NAMED_RATIO) and abs(ratio / value - 1) <= _SAME_RATIO
    ]
    return near[0] if near else None
