"""The claimed score against what the logs print of models or passes that are not the last."""

import math
import re
from collections.abc import Iterator

from verifier.claims.log_lines import FinalMetric
from verifier.claims.seed_by_seed import LogClaim
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase
from verifier.static_checks.claim_contradicts_log import is_carried

_PASS = re.compile(
    r"(?i)(.{0,80}?(?:\b|_)(?:epoch|pass)[ _:=#]{0,2})(\d{1,4})\b"
    r".{0,80}?bpb[ :=]{1,2}(\d\.\d{3,12})"
)

_PACKED = re.compile(r"(?i)(?<!pre-)(?<!pre)quantiz|int[4-8]|roundtrip")
_SCORE = re.compile(r"(?i)bpb[ :=]")
# `quant_gap: 0.0136 BPB (pre:1.1635 post:1.1771)`, `roundtrip: bpb_before=1.19 bpb_after=1.20`
_PACKING = re.compile(r"(?i)quant|roundtrip|compress")
_BEFORE_AND_AFTER = re.compile(
    r"(?i)(?<![a-z])(?:pre|before)[a-z_]{0,20}[:=] ?(\d\.\d{3,12})"
    r"[^\d]{1,40}(?<![a-z])(?:post|after)[a-z_]{0,20}[:=] ?(\d\.\d{3,12})"
)


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """The headline and each stated seed, where no final metric of any log carries the number."""
    tolerance = rule.parameters["tolerance_bpb"]
    stated = {s.stated.val_bpb for s in case.claims.seeds if s.stated and s.stated.val_bpb}
    headline = case.claims.headline_bpb
    of_seeds = sorted(stated)
    if (not stated and headline is None) or not case.claims.logs:
        return cannot_tell("there is no stated score, or no log to find it in")
    if headline is not None and is_carried(headline, case, [], tolerance):
        stated.clear()  # nothing is gained by what is said of single seeds
    elif headline is not None and not is_carried(headline, case, [*stated], tolerance):
        stated.add(headline)
    finals = [
        final.val_bpb
        for claim in case.claims.logs
        for final in claim.log.finals or _packed(claim)
        if final.val_bpb is not None
    ]
    claimed = sorted({*stated, *([headline] if headline is not None else [])})
    best = (_best_pass(claim, claimed, tolerance) for claim in case.claims.logs)
    findings = [finding for found in best for finding in found]
    logs = case.claims.logs
    findings += [f for one in logs for f in _unpacked(one, [*claimed, *of_seeds], tolerance)]
    for value in sorted(stated):
        if any(abs(value - final) <= tolerance for final in finals):
            continue
        findings += [f for claim in case.claims.logs for f in _carried(claim, value, tolerance)][:1]
    return CheckResult(findings=tuple(findings))


def _carried(claim: LogClaim, value: float, tolerance: float) -> Iterator[Finding]:
    """What is scored on the way; the log goes on to a worse final metric, or ends without any."""
    is_over, diagnostics = bool(claim.log.finals), []
    for metric in claim.log.diagnostics:
        if is_over or metric not in _packed(claim):
            diagnostics.append((metric.val_bpb, metric.line, metric.label))
    training = [  # at step 0 finished weights are scored
        (p.val_bpb, p.line, f"validation at step {p.step}")
        for p in claim.log.validation_points
        if is_over or p.step
    ]
    final = claim.log.finals[-1].val_bpb if is_over else math.inf
    if final is None or final < value:  # nobody gains by a worse number
        return
    rest = f"goes on to {final}" if is_over else "ends without a score of packed weights"
    for bpb, line, label in (*diagnostics, *training):
        if bpb is not None and abs(bpb - value) <= tolerance:
            yield Finding(
                message=f"the claimed {value:.5f} BPB is that of '{label}'; the log {rest}",
                file=str(claim.file.path),
                line=line,
            )


def _unpacked(claim: LogClaim, claimed: list[float], tolerance: float) -> Iterator[Finding]:
    """A claimed score that a line gives as that before packing, beside a worse one after it.

    What a log sums up at its end may be the score before: its label does not tell.
    """
    packed = [m.val_bpb for m in claim.log.finals if m.val_bpb and _PACKED.search(m.label)]
    for number, line in enumerate((claim.file.text or "").split("\n"), start=1):
        found = _BEFORE_AND_AFTER.search(line[:400]) if _PACKING.search(line[:400]) else None
        if found is None:
            continue
        before, after = float(found[1]), float(found[2])
        for value in claimed:
            of_packed = any(abs(value - score) <= tolerance for score in packed)
            if abs(before - value) <= tolerance < after - value and not of_packed:
                yield Finding(
                    message=f"the claimed {value:.5f} BPB is that before packing; "
                    f"the packed weights give {found[2]}",
                    file=str(claim.file.path),
                    line=number,
                )
                return


def _packed(claim: LogClaim) -> list[FinalMetric]:
    """The diagnostics that are of quantised weights by their own words."""
    return [metric for metric in claim.log.diagnostics if _PACKED.search(metric.label)]


def _best_pass(claim: LogClaim, claimed: list[float], tolerance: float) -> Iterator[Finding]:
    """A claimed score as that of a pass over the text, where a later pass scores worse.

    A learner does not know beforehand which of its passes will be the best one.
    """
    series = _passes(claim.file.text or "")
    for value in claimed:
        for label, passes in series.items():
            (best, line), (last, _) = min(passes), passes[-1]
            if abs(best - value) <= tolerance and last > value + tolerance:
                yield Finding(
                    message=f"the claimed {value:.5f} BPB is the best of {len(passes)} passes "
                    f"({label.strip()}); the last one gives {last}",
                    file=str(claim.file.path),
                    line=line,
                )
                break


def _passes(text: str) -> dict[str, list[tuple[float, int]]]:
    """By the text before its number: what each pass scored, and the line that says so."""
    series: dict[str, list[tuple[float, int]]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        # The pattern looks for a pass at every place; few lines have a score at all.
        found = _PASS.match(line[:400]) if _SCORE.search(line) else None
        if found:
            series.setdefault(found[1], []).append((float(found[3]), number))
    return series
