"""Seeds that were run against seeds that are reported."""

import re
from statistics import fmean

from verifier.claims.prose import statements
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase

_N = r"(?:\d{1,2}|two|three|four|five|six|seven|eight|nine|ten)"
_BEST_OF = re.compile(
    rf"(?i)\b(?:best|top|lucky|luckiest)[ -](?:{_N}[ -])?(?:seeds? |runs? )?(?:out )?(?:of|from) "
    rf"(?:the |our |all )?{_N}[ -](?:\w+ ){{0,2}}(?:seeds|runs)\b"
    rf"|\b{_N} (?:best|luckiest) (?:seeds|runs)\b|\bseeds? (?:was|were) (?:selected|brute-forced)"
    rf"|\breport\w*\b.{{0,40}}\b{_N} seeds with (?:the )?(?:lowest|best)\b"
    rf"|\bmean of the {_N} (?:lowest|best)\b"
)
_SWEEP = re.compile(r"(?i)sweep|ablation|config|hyperparam")


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Three ways to choose, each with its own finding."""
    tolerance = rule.parameters["tolerance_bpb"]
    findings = [*_left_out(case, tolerance), *_best_for_all(case, rule)]
    findings += [
        statement.finding("the author says that the best of more runs are reported")
        for statement in statements(case.submission, _BEST_OF)
        if not _SWEEP.search(statement.text)
    ]
    if not findings and not case.claims.seed_bpbs:
        return cannot_tell("no seed has a score")
    return CheckResult(findings=tuple(findings))


def _left_out(case: PaperCase, tolerance: float) -> list[Finding]:
    """Scored logs of seeds that the listed ones all beat."""
    listed = set(case.claims.metadata.seeds) if case.claims.metadata else set()
    reported = {s: bpb for s, bpb in case.claims.seed_bpbs.items() if s in listed}
    if len(reported) < 2:
        return []
    worst = max(reported.values())
    return [
        Finding(
            message=f"seed {seed.seed} scores {seed.log.val_bpb:.5f}, worse than every seed that "
            "submission.json lists, and is left out",
            file=str(seed.log.file.path),
            line=seed.log.log.headline.line if seed.log.log.headline else None,
            evidence=f"listed: {', '.join(f'{s}: {b:.5f}' for s, b in reported.items())}",
        )
        for seed in case.claims.seeds
        if seed.seed not in listed and seed.log and (seed.log.val_bpb or 0.0) > worst + tolerance
    ]


def _best_for_all(case: PaperCase, rule: Rule) -> list[Finding]:
    """A headline that is the lowest of the seeds, where that buys more than noise would."""
    stated, values = case.claims.headline_bpb, list(case.claims.seed_bpbs.values())
    if stated is None or len(values) < 2:
        return []
    best, mean = min(values), fmean(values)
    is_best = abs(stated - best) <= rule.parameters["tolerance_bpb"]
    if not is_best or mean - stated <= rule.parameters["best_gain_bpb"]:
        return []
    return [
        Finding(
            message=f"the headline {stated:.5f} is the best of {len(values)} seeds; "
            f"their mean is {mean:.5f}",
            file="submission.json",
            evidence=", ".join(f"{s}: {b:.5f}" for s, b in case.claims.seed_bpbs.items()),
        )
    ]
