"""submission.json against the folder's own logs: the score as a whole, each seed, the size."""

import re
import statistics
from collections.abc import Iterable, Iterator

from verifier.claims.log_lines import FinalMetric
from verifier.claims.seed_by_seed import HEADLINE_TOLERANCE_BPB, LogClaim, SeedClaims
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase

_FIGURE = re.compile(r"\b\d\.\d{4,12}")
_OF_BYTES = re.compile(r"(?i)bpb|bits|byte")
_IN_PASSING = re.compile(r"(?i)\d/\d|%|running|chunk|^(?:pre|diag)")
_DIGITS = re.compile(r"\d+")


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Nothing to compare on one side is `cannot tell`, a difference is a finding."""
    tolerance = rule.parameters["tolerance_bpb"]
    logs = [log for log in case.claims.logs if log.val_bpb is not None]
    stated = case.claims.headline_bpb
    per_seed = [s for s in case.claims.seeds if s.stated and s.stated.val_bpb is not None]
    if not logs:
        return cannot_tell("no log carries a final score that could be read")
    if stated is None and not per_seed:
        return cannot_tell("submission.json states no score that could be read")
    findings: list[Finding] = []
    if stated is None or not is_carried(stated, case, [], tolerance):
        findings = [f for s in per_seed if (f := _seed_finding(s, case, rule))]
        carried = [] if findings else [s.stated.val_bpb for s in per_seed if s.stated]
        if stated is not None and not _is_borne_out(stated, case, carried, tolerance):
            findings.append(_headline_finding(stated, logs))
    findings += _size_findings(case, rule)
    return CheckResult(findings=tuple(findings))


def _is_borne_out(
    stated: float, case: PaperCase, carried: list[float | None], tolerance: float
) -> bool:
    """Whether the logs give the score, or better ones: a modest claim gains nothing."""
    best = [min(_final_values(log), default=0.0) for log in case.claims.claiming_logs]
    return (
        stated >= statistics.fmean(best)
        or is_carried(stated, case, carried, tolerance)
        or _is_on_a_line(stated, case.claims.logs)
        or _is_mean_of_lines(stated, case.claims.logs)
    )


def is_carried(
    stated: float, case: PaperCase, carried: list[float | None], tolerance: float
) -> bool:
    """Whether the stated score is one run's, or the mean of some natural set of runs.

    Natural are: all logs, logs named alike but for a number, one log a seed, the seeds that
    submission.json lists, the values that it lists where each is in its log (`carried`), and the
    lines of one label.
    """
    seeds = [seed for seed in case.claims.seeds if seed.log and seed.log.val_bpb]
    alike: dict[str, list[float | None]] = {}
    for log in case.claims.logs:
        alike.setdefault(_DIGITS.sub("", str(log.file.path)), []).append(log.val_bpb)
    samples = (
        *alike.values(),
        [log.val_bpb for log in case.claims.logs],
        [seed.log.val_bpb for seed in seeds if seed.log],
        [seed.log.val_bpb for seed in seeds if seed.log and seed.stated],
        carried,
        *_by_label(case.claims.logs),
    )
    means = [statistics.fmean(known) for s in samples if (known := [v for v in s if v is not None])]
    finals = [value for log in case.claims.logs for value in _final_values(log)]
    return any(abs(stated - value) <= tolerance for value in (*finals, *means))


def _by_label(logs: Iterable[LogClaim]) -> Iterable[list[float | None]]:
    """The last BPB that each log gives under a label, label by label."""
    by_label: dict[str, list[float | None]] = {}
    for claim in logs:
        for label, bpb in {final.label: final.val_bpb for final in claim.log.finals}.items():
            by_label.setdefault(label, []).append(bpb)
    return by_label.values()


def _is_on_a_line(stated: float, logs: Iterable[LogClaim]) -> bool:
    """Whether a line of the logs gives the figure, other than in passing or as a diagnostic.

    Scripts end in lines of their own making; that one cannot be read as a final metric does not
    make the claim false.
    """
    return any(
        _same(stated, float(figure))
        for claim in logs
        for line in _telling_lines(claim)
        for figure in _FIGURE.findall(line)
    )


def _telling_lines(claim: LogClaim) -> Iterator[str]:
    """Lines with a BPB that is neither in passing nor a diagnostic's, of bounded length."""
    diagnostics = {metric.line for metric in claim.log.diagnostics}
    for number, line in enumerate((claim.file.text or "").split("\n"), start=1):
        if _OF_BYTES.search(line) and not _IN_PASSING.search(line[:500]):
            if number not in diagnostics:
                yield line[:500]


def _is_mean_of_lines(stated: float, logs: Iterable[LogClaim]) -> bool:
    """Whether it is the mean over several logs of the figure that they give in the same words."""
    by_words: dict[str, list[float]] = {}
    for claim in logs:
        last = {
            _DIGITS.sub("", line): float(figures[0])
            for line in _telling_lines(claim)
            if len(figures := _FIGURE.findall(line)) == 1
        }
        for words, figure in last.items():
            by_words.setdefault(words, []).append(figure)
    several = (figures for figures in by_words.values() if len(figures) > 1)
    return any(_same(stated, statistics.fmean(figures)) for figures in several)


def _same(stated: float, figure: float) -> bool:
    return abs(stated - figure) <= HEADLINE_TOLERANCE_BPB


def _final_values(log: LogClaim) -> list[float]:
    return [final.val_bpb for final in log.log.finals if final.val_bpb is not None]


def _headline_finding(stated: float, logs: list[LogClaim]) -> Finding:
    nearest = min(logs, key=lambda log: abs((log.val_bpb or 0.0) - stated))
    final = nearest.log.headline
    assert final is not None
    return Finding(
        message=f"submission.json states {stated:.5f} BPB; no log ends there, nor does their mean",
        file=str(nearest.file.path),
        line=final.line,
        evidence=_quote(final),
    )


def _seed_finding(claims: SeedClaims, case: PaperCase, rule: Rule) -> Finding | None:
    assert claims.stated is not None and claims.stated.val_bpb is not None
    if claims.log is None or claims.log.log.headline is None:
        return None
    tolerance, stated = rule.parameters["tolerance_bpb"], claims.stated.val_bpb
    values = [v for log in (claims.log, *claims.other_logs) for v in _final_values(log)]
    if stated >= min(values, default=0.0) - tolerance:  # a modest claim gains nothing
        return None
    if _is_on_a_line(stated, case.claims.logs):
        return None
    final = claims.log.log.headline
    return Finding(
        message=f"submission.json states {stated:.5f} BPB for seed {claims.seed}; "
        "its log ends elsewhere",
        file=str(claims.log.file.path),
        line=final.line,
        evidence=_quote(final),
    )


def _size_findings(case: PaperCase, rule: Rule) -> list[Finding]:
    """The stated total against the largest logged one: only what hides an excess matters."""
    tolerance = rule.parameters["tolerance_relative_bytes"]
    stated = case.claims.metadata.bytes_total if case.claims.metadata else None
    logged = [(log.log.total_bytes, log) for log in case.claims.logs if log.log.total_bytes]
    if stated is None or not logged:
        return []
    largest, log = max(logged, key=lambda pair: pair[0] or 0)
    if largest is None or largest <= case.track.limits.artifact_bytes.value:
        return []
    if stated >= min(total or 0 for total, _ in logged) * (1 - tolerance):
        return []
    return [
        Finding(
            message=f"submission.json states {stated:,} bytes in all; the logs say {largest:,}",
            file=str(log.file.path),
            line=log.log.lines.get("total_bytes"),
        )
    ]


def _quote(final: FinalMetric) -> str:
    return f"{final.label} val_bpb {final.val_bpb}"
