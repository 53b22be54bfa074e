"""Tokens that were learned, or counted, are scored once more, and that score counts."""

from verifier.data_flow.orders import Sequence, scored_again
from verifier.data_flow.values import BEST
from verifier.findings import CheckResult, Finding
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase, flow_result


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """One finding a repetition: the loop that repeats, the later pass, or where the best stays."""
    findings = [_finding(sequence) for sequence in scored_again(case.trace)]
    findings += [
        Finding(
            message="of the scores that a token gets in several rounds the best is kept",
            file=odd.place.file,
            line=odd.place.line,
            evidence=odd.place.code,
        )
        for odd in case.trace.claimed_oddities(BEST)
    ]
    return flow_result(case.trace, findings)


def _finding(sequence: Sequence) -> Finding:
    update = sequence.update
    learned = "counted in a table" if update.is_table else "learned"
    if sequence.loop is not None:
        message = (
            "this loop scores the same validation tokens in each of its rounds; they are "
            f"{learned} in between ({update.place.file}:{update.place.line})"
        )
        place = sequence.loop.place
    else:
        message = (
            "validation tokens are scored in a pass of their own after they were "
            f"{learned} ({update.place.file}:{update.place.line})"
        )
        place = sequence.score.place
    return Finding(message=message, file=place.file, line=place.line, evidence=place.code)
