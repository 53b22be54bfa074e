"""The report as SARIF 2.1.0: what code-scanning dashboards read.

Every rule of the project has at least one result, so that nothing unseen reads as fine: a broken
rule one of kind `fail` for each finding, a passed one `pass`, one that could not be evaluated
`open`, and one that the track does not ask for `notApplicable`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from verifier import __version__
from verifier.findings import Outcome, Severity
from verifier.reports import figures
from verifier.reports.dossier import Dossier
from verifier.reports.foreign_text import visible
from verifier.schemas.rule_record_json import FindingRecord, RuleRecord
from verifier.schemas.rule_yaml import Rule

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
LEVELS = {Severity.REJECT: "error", Severity.WARN: "warning", Severity.INFO: "note"}
KINDS = {Outcome.PASSED: "pass", Outcome.NOT_EVALUATED: "open"}
METADATA_FILE = "submission.json"
"""Where a result stands that is about the whole folder: GitHub shows none without a place."""
MAX_RESULTS = 5_000
"""GitHub shows no more of one run and refuses 25,000; what is left out is counted in the run."""

Json = dict[str, Any]


def render_sarif(dossiers: Sequence[Dossier]) -> str:
    """One log in ASCII with a run for each submission."""
    runs = [_run(dossier) for dossier in dossiers]
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": runs}, indent=1) + "\n"


def _run(dossier: Dossier) -> Json:
    verdict = dossier.verdict
    rules = figures.by_gravity(verdict.rules)
    results = [result for rule in rules for result in _told(rule, dossier.folder)]
    asked = {rule.rule for rule in rules}
    for name in dossier.rules:
        if name not in asked:
            text = "the track does not ask for this rule"
            results.append(_result(name, "notApplicable", text, _location(dossier.folder)))
    shown = results[:MAX_RESULTS]
    return {
        "tool": {"driver": _driver(dossier.rules)},
        "automationDetails": {"id": f"pgolf-verify/{visible(verdict.submission)}/"},
        "columnKind": "unicodeCodePoints",
        "results": shown,
        "properties": {
            "verdict": verdict.verdict,
            "because": visible(verdict.because),
            "profile": verdict.profile,
            "track": verdict.track,
            "rung": verdict.rung,
            "submission_sha256": verdict.submission_sha256,
            "results_left_out": len(results) - len(shown),
        },
    }


def _driver(rules: Mapping[str, Rule]) -> Json:
    return {
        "name": "pgolf-verify",
        "version": __version__,
        "rules": [
            {
                "id": rule.id,
                "name": rule.id,
                "shortDescription": {"text": rule.title},
                "fullDescription": {"text": rule.what},
                "help": {"text": _help(rule)},
                "defaultConfiguration": {"level": LEVELS[rule.severity]},
                "properties": {"tags": [rule.violation_class, rule.condition]},
            }
            for rule in rules.values()
        ],
    }


def _help(rule: Rule) -> str:
    parts = (rule.why, f"To mend it: {rule.mend}", f"Example: {rule.example}", rule.source)
    return "\n\n".join(parts)


def _told(rule: RuleRecord, folder: str) -> list[Json]:
    if rule.outcome is Outcome.BROKEN:
        return [_failure(rule, finding, folder) for finding in rule.findings]
    text = visible(rule.reason or rule.title)
    return [_result(rule.rule, KINDS[rule.outcome], text, _location(folder))]


def _failure(rule: RuleRecord, finding: FindingRecord, folder: str) -> Json:
    text = visible(figures.shipped_message(finding))
    if finding.evidence:
        text += f"\n{visible(finding.evidence)}"
    # The line may move while the offence stays, so it is no part of what makes a finding the same.
    same = f"{rule.rule}\0{finding.file}\0{finding.message}".encode("utf-8", "backslashreplace")
    fingerprint = hashlib.sha256(same).hexdigest()[:32]
    file, line = figures.shipped_place(finding)
    place = _location(folder, file or METADATA_FILE, line)
    return _result(rule.rule, "fail", text, place) | {
        "level": LEVELS[rule.severity],
        "partialFingerprints": {"finding/v1": fingerprint},
    }


def _result(rule_id: str, kind: str, text: str, location: Json) -> Json:
    return {
        "ruleId": rule_id,
        "kind": kind,
        "level": "none",
        "message": {"text": text},
        "locations": [location],
    }


def _location(folder: str, file: str = METADATA_FILE, line: int | None = None) -> Json:
    uri = quote(str(PurePosixPath(folder, visible(file))))
    physical: Json = {"artifactLocation": {"uri": uri, "uriBaseId": "%SRCROOT%"}}
    if line:
        physical["region"] = {"startLine": line}
    return {"physicalLocation": physical}
