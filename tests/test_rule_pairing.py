"""One rule = one YAML = one module = one fixture pair, all with the same stem."""

from pathlib import Path

from verifier.evidence_checks import EVIDENCE_CHECKS
from verifier.rulebook import load_rulebook, load_rules
from verifier.static_checks import STATIC_CHECKS

ROOT = Path(__file__).parent.parent
RULES = load_rules()
NUM_RULES = 76


def stems(folder: str, stage: str) -> set[str]:
    modules = {path.stem for path in (ROOT / "verifier" / folder).glob("*.py")}
    assert modules > {"base", "__init__"}, f"no checks found in {folder}"
    return modules - {"base", "__init__"}


def rules_of(stage: str) -> set[str]:
    return {rule.id for rule in RULES.values() if rule.stage == stage}


def test_every_rule_is_counted():
    assert len(RULES) == NUM_RULES
    assert all(stem == rule.id for stem, rule in RULES.items())


def test_each_static_rule_has_one_module_and_one_registration():
    assert stems("static_checks", "static") == rules_of("static") == set(STATIC_CHECKS)


def test_each_evidence_rule_has_one_module_and_one_registration():
    assert stems("evidence_checks", "evidence") == rules_of("evidence") == set(EVIDENCE_CHECKS)


def test_each_rule_has_one_fixture_pair():
    cases = ROOT / "tests" / "verifier" / "rule_cases"
    assert {path.name for path in cases.iterdir()} == set(RULES)


def test_every_rule_is_used_by_the_record_track():
    assert set(load_rulebook("10min_16mb").rules) == set(RULES)
