"""The report as JUnit XML: a suite for each submission, a test case for each rule.

A broken rule of severity `reject` is a failure; one that could not be evaluated is skipped with the
reason; one of lower severity passes and says what was seen. A CI server then counts as the verdict
does, but knows no word for inconclusive: the suite's property `verdict` has it.
"""

from collections.abc import Sequence
from xml.etree import ElementTree

from verifier.findings import Outcome, Severity
from verifier.reports import figures
from verifier.reports.foreign_text import visible
from verifier.schemas.rule_record_json import FindingRecord, RuleRecord
from verifier.schemas.verdict_json import VerdictFile

MAX_FINDINGS = 200


def render_junit(verdicts: Sequence[VerdictFile]) -> str:
    """One XML document in ASCII."""
    root = ElementTree.Element("testsuites", name="pgolf-verify")
    for verdict in verdicts:
        root.append(_suite(verdict))
    ElementTree.indent(root)
    xml: bytes = ElementTree.tostring(root, encoding="us-ascii", xml_declaration=True)
    return xml.decode("ascii") + "\n"


def _suite(verdict: VerdictFile) -> ElementTree.Element:
    failures = sum(_is_failure(rule) for rule in verdict.rules)
    skipped = sum(rule.outcome is Outcome.NOT_EVALUATED for rule in verdict.rules)
    suite = ElementTree.Element(
        "testsuite",
        name=visible(verdict.submission),
        tests=str(len(verdict.rules)),
        failures=str(failures),
        errors="0",
        skipped=str(skipped),
    )
    properties = ElementTree.SubElement(suite, "properties")
    for name in ("verdict", "because", "track", "profile", "rung", "submission_sha256"):
        value = visible(str(getattr(verdict, name)))
        ElementTree.SubElement(properties, "property", name=name, value=value)
    for rule in figures.by_gravity(verdict.rules):
        suite.append(_case(rule))
    return suite


def _case(rule: RuleRecord) -> ElementTree.Element:
    case = ElementTree.Element("testcase", classname=f"pgolf.{rule.condition}", name=rule.rule)
    if rule.outcome is Outcome.NOT_EVALUATED:
        reason = visible(rule.reason or "cannot tell")
        ElementTree.SubElement(case, "skipped", message=reason)
    elif rule.outcome is Outcome.BROKEN:
        told = ElementTree.SubElement(case, "failure" if _is_failure(rule) else "system-out")
        if _is_failure(rule):
            told.attrib.update(type=rule.violation_class, message=visible(rule.title))
        told.text = _findings(rule)
    return case


def _is_failure(rule: RuleRecord) -> bool:
    return rule.outcome is Outcome.BROKEN and rule.severity is Severity.REJECT


def _findings(rule: RuleRecord) -> str:
    lines = [_finding(finding) for finding in rule.findings[:MAX_FINDINGS]]
    left_out = len(rule.findings) - len(lines)
    more = [f"and {left_out} more"] if left_out else []
    mend = [f"to mend it: {visible(rule.mend)}"] if rule.mend else []
    return "\n".join([*lines, *more, *mend])


def _finding(finding: FindingRecord) -> str:
    evidence = f" | {visible(finding.evidence)}" if finding.evidence else ""
    return f"{visible(figures.place(finding) + finding.message)}{evidence}"
