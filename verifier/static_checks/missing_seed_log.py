"""Seeds that submission.json or the README's table lists, against the seeds of the logs."""

import re

from verifier.claims.prose import Statement, prose_lines
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.intake.submission import Submission
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase

_SEED = re.compile(r"(?:seed )?(\d{1,10})", re.IGNORECASE)
_SCORE = re.compile(r"\d\.\d{3}")


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Logs that name no seed may be any seed's; one of several runs may hold another seed's."""
    listed = set(case.claims.metadata.seeds) if case.claims.metadata else set()
    table = {} if listed else _seed_table(case.submission)
    if not listed and not table:
        return cannot_tell("neither submission.json nor a table of the README lists seeds")
    if any(log.seed is None for log in case.claims.logs):
        return cannot_tell("a log names no seed")
    logged = {log.seed for log in case.claims.logs} | {log.seed_in_name for log in case.claims.logs}
    missing = sorted((listed or table.keys()) - logged)
    if not missing or not case.claims.logs:  # no log at all is another rule's finding
        return CheckResult()
    named = ", ".join(map(str, missing))
    if not table:
        message = f"no log for the listed seeds {named}"
        return CheckResult(findings=(Finding(message=message, file="submission.json"),))
    if any(log.log.num_runs > 1 for log in case.claims.logs) or not table.keys() & logged:
        return cannot_tell("a log holds several runs, or the table's seeds are no log's")
    return CheckResult(
        findings=(table[missing[0]].finding(f"no log for the table's seeds {named}"),)
    )


def _seed_table(submission: Submission) -> dict[int, Statement]:
    """The rows of the README's first table of scores by seed; one that repeats a seed is a grid."""
    column: int | None = None
    rows: list[tuple[int, Statement]] = []
    for line in prose_lines(submission):
        cells = [cell.strip(" *`").lower() for cell in line.text.strip("|").split("|")]
        if not line.text.startswith("|") or not line.file.lower().endswith(".md"):
            if rows:
                break
            column = None
        elif "seed" in cells and any("bpb" in cell for cell in cells):
            column = cells.index("seed")
        elif column is not None and column < len(cells) and _SCORE.search(line.text):
            seed = _SEED.fullmatch(cells[column])
            rows += [(int(seed[1]), line)] if seed else []
    return dict(rows) if len({seed for seed, _ in rows}) == len(rows) else {}
