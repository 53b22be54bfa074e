"""Gains that a README gives in BPB and in nats, against the factor of its own tokenizer."""

import re
from collections.abc import Iterator

from verifier.claims.prose import prose_lines
from verifier.claims.seed_by_seed import ImpliedBytes, LogClaim
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase
from verifier.units import nats_per_token

_GAP = r"[\s*`]{0,6}"
_BETWEEN = r"[\s*`/(=≈~−–-]{1,12}"
_NUMBER = r"(?<![\d.])(0\.0\d{2,7})"
_BPB_THEN_NATS = re.compile(rf"(?i){_NUMBER}{_GAP}bpb{_BETWEEN}{_NUMBER}{_GAP}nats")
_NATS_THEN_BPB = re.compile(
    rf"(?i){_NUMBER}{_GAP}nats(?: ?(?:per |/)token)?{_BETWEEN}{_NUMBER}{_GAP}bpb"
)


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Both figures are rounded, so the nearest ratio that they allow is held against the factor."""
    scored = [
        (claim, implied)
        for claim in case.claims.claiming_logs
        if (implied := claim.implied_validation_bytes)
    ]
    pairs = list(_pairs(case))
    if not scored or not pairs:
        return cannot_tell("no gain is given in both units, or no log shows tokens and bytes")
    factor = _factor(*scored[0])
    findings = []
    for bpb, nats, (file, line, text) in pairs:
        bpb_rounding, nats_rounding = _half_unit(bpb), _half_unit(nats)
        low = (float(nats) - nats_rounding) / (float(bpb) + bpb_rounding)
        high = (float(nats) + nats_rounding) / (float(bpb) - bpb_rounding)
        tolerance = rule.parameters["tolerance_relative"]
        if low > factor * (1 + tolerance) or high < factor * (1 - tolerance):
            findings.append(
                Finding(
                    message=f"{bpb} BPB are given as {nats} nats; with the factor {factor:.3f} of "
                    f"the scored text they are {float(bpb) * factor:.5f}",
                    file=file,
                    line=line,
                    evidence=text[:160],
                )
            )
    return CheckResult(findings=tuple(findings))


def _pairs(case: PaperCase) -> Iterator[tuple[str, str, tuple[str, int, str]]]:
    """Each gain as (BPB, nats, place)."""
    for line in prose_lines(case.submission):
        place = (line.file, line.line, line.text)
        for match in _BPB_THEN_NATS.finditer(line.text):
            yield match[1], match[2], place
        for match in _NATS_THEN_BPB.finditer(line.text):
            yield match[2], match[1], place


def _factor(claim: LogClaim, implied: ImpliedBytes) -> float:
    """Nats a token for one bit per byte."""
    return nats_per_token(1.0, claim.log.val_tokens or 0, implied.value)


def _half_unit(number: str) -> float:
    return 0.5 * 10.0 ** -len(number.partition(".")[2])
