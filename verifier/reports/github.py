"""The report as GitHub workflow commands: annotations on the pull request's files."""

from verifier.findings import Outcome, Severity
from verifier.reports import figures
from verifier.reports.foreign_text import github_command
from verifier.schemas.rule_record_json import FindingRecord, RuleRecord
from verifier.schemas.verdict_json import VerdictFile

MAX_ANNOTATIONS = 9
"""GitHub shows ten of a kind a step; the last one says how many more there are."""
LEVELS = {Severity.REJECT: "error", Severity.WARN: "warning", Severity.INFO: "notice"}


def render_github(verdict: VerdictFile) -> str:
    """One annotation a finding, the gravest first, and the verdict as a notice."""
    broken = [rule for rule in verdict.rules if rule.outcome is Outcome.BROKEN]
    broken.sort(key=lambda rule: list(LEVELS).index(rule.severity))
    lines = [_annotation(rule, finding) for rule in broken for finding in rule.findings]
    shown = lines[:MAX_ANNOTATIONS]
    if len(lines) > len(shown):
        shown.append(f"::warning::{len(lines) - len(shown)} more findings in the report")
    shown.append(f"::notice title=pgolf-verify::{github_command(figures.headline(verdict))}")
    return "\n".join(shown) + "\n"


def _annotation(rule: RuleRecord, finding: FindingRecord) -> str:
    place = ""
    if finding.file:
        name = github_command(finding.file).replace(",", "%2C").replace(":", "%3A")
        place = f"file={name}," + (f"line={finding.line}," if finding.line else "")
    return f"::{LEVELS[rule.severity]} {place}title={rule.rule}::{github_command(finding.message)}"
