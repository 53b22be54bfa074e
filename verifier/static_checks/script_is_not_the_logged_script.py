"""The shipped script against the one that ran: the source that a log prints, else its size."""

from verifier.claims.logged_source import (
    PrintedSource,
    SourceDifference,
    first_difference,
    logged_source,
    lost_head,
    shipped_source,
)
from verifier.claims.seed_by_seed import LogClaim
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """A log that prints a source is held against every script; one with a size, against sizes."""
    if case.submission.script is None:
        return cannot_tell("there is no script")
    findings, is_told = [], False
    for claim in case.claims.claiming_logs:
        logged = logged_source(claim.file)
        found, is_whole = _by_source(case, logged) if logged is not None else (None, False)
        if found is None and not is_whole:
            if _code(claim) is None:
                continue
            found = _by_size(case, claim)
        is_told = True
        findings += [found] if found else []
    if not is_told:
        return cannot_tell("no log prints the source or counts the code's bytes")
    return CheckResult(findings=tuple(findings))


def _by_source(case: PaperCase, logged: PrintedSource) -> tuple[Finding | None, bool]:
    """The nearest of all shipped sources, packed ones included, is named where none is the same.

    And whether the log holds all of the source that it was held against.
    """
    texts = {module.name: module.text for module in case.program.modules}
    texts |= {str(file.path): file.text for file in case.submission.scripts if file.text}
    nearest: tuple[SourceDifference, str] | None = None
    for name, text in texts.items():
        shipped = shipped_source(name, text)
        skipped = lost_head(logged, shipped)
        difference = first_difference(logged, shipped, skipped=skipped)
        if difference is None:
            return None, skipped == 0
        if nearest is None or difference.line > nearest[0].line:
            nearest = difference, name
    if nearest is None:
        return None, False
    where, name = nearest
    finding = Finding(
        message=f"the source that this log prints is not {name}, from its line "
        f"{where.other_line} on",
        file=logged.file,
        line=where.line,
        evidence=where.quote,
    )
    return finding, True


def _by_size(case: PaperCase, claim: LogClaim) -> Finding | None:
    """The main script, another that it runs, or all of them: scripts count themselves so."""
    script, num_bytes = case.submission.script, _code(claim)
    reached = {module.file.path: module.file.num_bytes for module in case.program.modules}
    needed = sum(reached.values())
    if script is None or num_bytes in (None, script.num_bytes, needed, *reached.values()):
        return None
    return Finding(
        message=f"the log counts {num_bytes:,} bytes of code, {script.path} holds "
        f"{script.num_bytes:,} and with what it imports {needed:,}",
        file=str(claim.file.path),
        line=claim.log.lines.get("code_bytes_uncompressed", claim.log.lines.get("code_bytes")),
    )


def _code(claim: LogClaim) -> int | None:
    if claim.log.code_bytes is None:
        return None
    return claim.log.code_bytes_uncompressed or claim.log.code_bytes
