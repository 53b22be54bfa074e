"""Every rule against its own pair: what must be flagged, at its place, and what must not."""

from pathlib import Path

import pytest
import yaml
from evidence_on_file import read_evidence

from verifier import pipeline
from verifier.findings import Outcome
from verifier.rulebook import load_rulebook, load_rules
from verifier.schemas.rule_record_json import RuleRecord

CASES = Path(__file__).parent / "rule_cases"
RULES = load_rules()
TRACK = load_rulebook("10min_16mb")


def answer(rule: str, case: str) -> RuleRecord:
    if RULES[rule].stage == "static":
        records = pipeline.audit(CASES / rule / case, TRACK).rules
    else:
        evidence = read_evidence(CASES / rule / f"{case}.yaml")
        records = pipeline.judge(evidence, TRACK, "readme-strict").rules
    return next(record for record in records if record.rule == rule)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_flagged_case_is_flagged_exactly_where_expected(rule):
    expected = yaml.safe_load((CASES / rule / "expected.yaml").read_text())
    findings = answer(rule, "flagged").findings
    assert len(findings) == len(expected)
    for finding, wanted in zip(findings, expected, strict=True):
        assert wanted["message"] in finding.message
        assert (finding.file, finding.line) == (wanted.get("file"), wanted.get("line"))


@pytest.mark.parametrize("rule", sorted(RULES))
def test_clean_case_passes(rule):
    record = answer(rule, "clean")
    assert record.outcome is Outcome.PASSED, record
