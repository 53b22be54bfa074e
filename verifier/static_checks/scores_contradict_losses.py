"""Logs whose scores are not their losses times one factor."""

import re
from collections.abc import Sequence

from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.intake.submission import SubmissionFile
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase

MAX_LINES = 200_000
MAX_LINE_CHARACTERS = 400
_LOSS_AND_BPB = re.compile(
    r"(?i)\bval(?:id\w{0,8})?[ _]?loss\W{1,4}(\d{1,2}\.\d{2,17})\D{1,30}?bpb\W{1,4}(\d\.\d{2,17})"
)


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """The fewest factors that explain a log's pairs of a validation loss and a BPB."""
    findings, has_pairs = [], False
    for claim in case.claims.logs:
        pairs = _pairs(claim.file)
        has_pairs = has_pairs or len(pairs) > 1
        needed = fewest_factors([(loss, bpb) for loss, bpb, _ in pairs])
        if needed > rule.parameters["most_factors"]:
            low, high = (at(pairs, key=lambda pair: _factor(*pair[:2])) for at in (min, max))
            findings.append(
                Finding(
                    message=f"{len(pairs)} validation losses would need {needed} factors from "
                    "nats a token to BPB; one text has one",
                    file=str(claim.file.path),
                    line=high[2],
                    evidence=f"loss {low[0]} is BPB {low[1]}, and loss {high[0]} is BPB {high[1]}",
                )
            )
    if not has_pairs:
        return cannot_tell("no log prints two validation losses with their BPB")
    return CheckResult(findings=tuple(findings))


def fewest_factors(pairs: Sequence[tuple[str, str]]) -> int:
    """How many factors BPB / loss it takes so that each printed pair agrees with one.

    A pair allows an interval of factors, for both figures are rounded; the fewest points that
    meet all intervals are found from the lowest upper end on.
    """
    intervals = sorted(
        (
            (float(bpb) + _half_unit(bpb)) / (float(loss) - _half_unit(loss)),
            (float(bpb) - _half_unit(bpb)) / (float(loss) + _half_unit(loss)),
        )
        for loss, bpb in pairs
        if float(loss) > 2 * _half_unit(loss)
    )
    number, point = 0, -1.0
    for high, low in intervals:
        if low > point:
            number, point = number + 1, high
    return number


def _pairs(file: SubmissionFile) -> list[tuple[str, str, int]]:
    """Each line's loss and BPB as printed, with the line's number."""
    found = []
    for number, line in enumerate((file.text or "").split("\n")[:MAX_LINES], start=1):
        if match := _LOSS_AND_BPB.search(line, 0, MAX_LINE_CHARACTERS):
            found.append((match[1], match[2], number))
    return found


def _factor(loss: str, bpb: str) -> float:
    return float(bpb) / max(float(loss), _half_unit(loss))


def _half_unit(number: str) -> float:
    return 0.5 * 10.0 ** -len(number.partition(".")[2])
