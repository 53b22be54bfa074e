"""What the logs behind a claim print of their code, against each other: source, size, settings."""

import re

from verifier.claims.logged_source import (
    PrintedSource,
    SourceDifference,
    first_difference,
    logged_source,
    lost_head,
)
from verifier.claims.seed_by_seed import LogClaim
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase

PER_RUN = re.compile(
    r"(?i)seed|run_id|path|dir|file|log|rank|host|port|time|date|name|device|pid|uuid|prefix|resume"
)
"""Settings that may differ between runs of one method."""


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Each log against the first."""
    logs = case.claims.claiming_logs
    if len(logs) < 2:
        return cannot_tell("fewer than two logs stand behind the claim")
    first = logs[0]
    findings = []
    for other in logs[1:]:
        findings += _code(first, other) + _settings(first, other)
    return CheckResult(findings=tuple(findings))


def _code(first: LogClaim, other: LogClaim) -> list[Finding]:
    """By the printed source, else by size.

    A compressed size varies with nothing but the code, yet only where both are compressed.
    """
    one, two = logged_source(other.file), logged_source(first.file)
    if one is not None and two is not None:
        if lost_head(two, one):
            one, two = two, one
        skipped = lost_head(one, two)
        difference = first_difference(one, two, skipped=skipped)
        if difference is not None:
            return [_source_finding(one, two, difference)]
        if not skipped:
            return []
    for field in ("code_bytes_uncompressed", "code_bytes"):
        mine, others = getattr(first.log, field), getattr(other.log, field)
        if mine is None or others is None:
            continue
        if mine == others:
            return []
        return [
            Finding(
                message=f"counts {others:,} bytes of code; {first.file.path} counts {mine:,}",
                file=str(other.file.path),
                line=other.log.lines.get(field),
            )
        ]
    return []


def _source_finding(one: PrintedSource, two: PrintedSource, where: SourceDifference) -> Finding:
    return Finding(
        message=f"the source that this log prints is not the one of {two.file}, from its line "
        f"{where.other_line} on",
        file=one.file,
        line=where.line,
        evidence=where.quote,
    )


def _settings(first: LogClaim, other: LogClaim) -> list[Finding]:
    mine, others = first.log.hyperparameters, other.log.hyperparameters
    differing = [
        name
        for name in mine
        if name in others and mine[name] != others[name] and not PER_RUN.search(name)
    ]
    if not differing:
        return []
    shown = "; ".join(f"{n}: {others[n][:40]} against {mine[n][:40]}" for n in differing[:4])
    return [
        Finding(
            message=f"{len(differing)} hyperparameters differ from those of {first.file.path}",
            file=str(other.file.path),
            evidence=shown,
        )
    ]
