"""The report as GitHub workflow commands: annotations on the pull request's files."""

from pathlib import PurePosixPath

from verifier.findings import Outcome, Severity
from verifier.reports import figures
from verifier.reports.foreign_text import github_command
from verifier.schemas.rule_record_json import FindingRecord, RuleRecord
from verifier.schemas.verdict_json import VerdictFile

MAX_ANNOTATIONS = 9
"""GitHub shows ten of each level a step; a place is kept for what else the step has to say."""
MAX_PATH_CHARACTERS = 4_096
LEVELS = {Severity.REJECT: "error", Severity.WARN: "warning", Severity.INFO: "notice"}


def render_github(verdict: VerdictFile, folder: str = "") -> str:
    """The first findings of each level, the gravest first, and the verdict as a notice.

    Args:
        verdict: what to tell.
        folder: the submission's place below the repository's root, which annotations need.
    """
    lines = []
    left_out = 0
    for severity in Severity:
        findings = [
            (rule, finding)
            for rule in verdict.rules
            if rule.outcome is Outcome.BROKEN and rule.severity is severity
            for finding in rule.findings
        ]
        shown = findings[:MAX_ANNOTATIONS]
        left_out += len(findings) - len(shown)
        lines += [_annotation(rule, finding, folder) for rule, finding in shown]
    more = f" ({left_out} more findings in the report)" if left_out else ""
    said = github_command(f"{verdict.submission}: {figures.headline(verdict)}") + more
    return "\n".join([*lines, f"::notice title=pgolf-verify::{said}"]) + "\n"


def _annotation(rule: RuleRecord, finding: FindingRecord, folder: str) -> str:
    place = ""
    file, line = figures.shipped_place(finding)
    if file:
        name = github_command(str(PurePosixPath(folder, file)), MAX_PATH_CHARACTERS)
        name = name.replace(",", "%2C").replace(":", "%3A")
        place = f"file={name}," + (f"line={line}," if line else "")
    said = figures.shipped_message(finding)
    return f"::{LEVELS[rule.severity]} {place}title={rule.rule}::{github_command(said)}"
