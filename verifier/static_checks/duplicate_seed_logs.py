"""Logs of different seeds that are one file, or agree where independent runs cannot."""

import re
from itertools import combinations

from verifier.claims.log_lines import without_stamp
from verifier.claims.seed_by_seed import LogClaim, seed_in_name
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase

MAX_LOGS = 12
MAX_FIGURE_LINES = 20_000
# loss, bpb, and the batch and running loss and BPB of test-time training (bl, bb, rl, rb).
# A word's start is tested behind its letters: each branch begins with a letter, so lines without
# one are passed over three times as fast.
_FIGURE = re.compile(r"(?:loss|bpb|b[lb](?<!\wb[lb])|r[lb](?<!\wr[lb]))[:=] ?(\d{1,3}\.\d{4,17})")
_START_STEPS = re.compile(r"(?:warmup_step|(?:step:)?[0-3]/)")


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Copies by name first, then every pair of logs that print different seeds."""
    named = [claim for claim in case.claims.logs if claim.seed is not None]
    logs = [claim for claim in named if claim.log.num_runs == 1][:MAX_LOGS]
    if len(logs) < 2 and not any(file.duplicate_of for file in case.submission.logs):
        return cannot_tell("fewer than two logs name their seed")
    findings = _copies(case)
    figures = {claim.file.path: _figures(claim) for claim in logs}
    for one, other in combinations(logs, 2):
        if one.seed == other.seed:
            continue
        mine, others = figures[one.file.path], figures[other.file.path]
        shared, fewer = len(mine & others), min(len(mine), len(others))
        needed = max(
            rule.parameters["fewest_shared_lines"], rule.parameters["shared_fraction"] * fewer
        )
        if shared >= needed:
            findings.append(
                Finding(
                    message=f"shares {shared} of {fewer} lines with losses or scores, to the last "
                    f"digit, with {other.file.path}: a re-run is required",
                    file=str(one.file.path),
                    evidence=f"seeds {one.seed} and {other.seed}; for example {min(mine & others)}",
                )
            )
        elif _ends_alike(one, other, int(rule.parameters["fewest_decimals"])):
            findings.append(_same_end(one, other))
    return CheckResult(findings=tuple(findings))


def _ends_alike(one: LogClaim, other: LogClaim, fewest_decimals: int) -> bool:
    """Whether both end with one loss and one BPB, printed to more digits than chance agrees to."""
    mine, its = one.log.headline, other.log.headline
    if mine is None or its is None or mine.val_loss is None:
        return False
    decimals = (mine.loss_decimals, mine.bpb_decimals, its.loss_decimals, its.bpb_decimals)
    is_same = (mine.val_loss, mine.val_bpb) == (its.val_loss, its.val_bpb)
    return is_same and min(decimals) >= fewest_decimals


def _same_end(one: LogClaim, other: LogClaim) -> Finding:
    final = one.log.headline
    return Finding(
        message=f"ends with the loss and the BPB of {other.file.path}, to the last digit: a re-run "
        "is required",
        file=str(one.file.path),
        line=final.line if final else None,
        evidence=f"seeds {one.seed} and {other.seed}: {final.val_loss if final else None}",
    )


def _copies(case: PaperCase) -> list[Finding]:
    """Byte-identical files whose names say different seeds; a copy without a seed is common."""
    return [
        Finding(
            message=f"is the same file as {file.duplicate_of}, which is named for another seed",
            file=str(file.path),
        )
        for file in case.submission.logs
        if file.duplicate_of is not None
        and len({seed_in_name(file.path), seed_in_name(file.duplicate_of)} - {None}) == 2
    ]


def _figures(claim: LogClaim) -> set[str]:
    """Lines with a loss or score, less those of the first steps, which seeds may share."""
    lines = set()
    for line in (claim.file.text or "").split("\n"):
        if _FIGURE.search(line, 0, 400):
            text = without_stamp(line.strip())[:400]
            if not _START_STEPS.match(text):
                # Up to the last figure: what follows is a clock.
                lines.add(text[: [*_FIGURE.finditer(text)][-1].end()])
        if len(lines) >= MAX_FIGURE_LINES:
            break
    return lines
