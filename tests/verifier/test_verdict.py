import datetime

import pytest
from evidence_on_file import whole_run

from verifier import pipeline
from verifier.findings import Outcome, Severity
from verifier.rulebook import load_rulebook
from verifier.schemas.rule_record_json import RuleRecord
from verifier.schemas.run_record_json import Evidence
from verifier.verdict import decide

PROFILES = load_rulebook().profiles
STRICT = PROFILES["readme-strict"]


def record(outcome: str, severity: str = "reject") -> RuleRecord:
    return RuleRecord(
        rule=f"{severity}_{outcome}",
        title="",
        since=datetime.date(2026, 3, 18),
        source="README",
        outcome=Outcome(outcome),
        severity=Severity(severity),
        violation_class="other",
        condition="data",
    )


@pytest.fixture
def evidence() -> Evidence:
    return whole_run("rerun")


PASSED, BROKEN, UNKNOWN = record("passed"), record("broken"), record("not_evaluated")


def test_broken_rule_rejects_even_beside_unknown_ones(evidence):
    assert decide((PASSED, UNKNOWN, BROKEN), evidence, STRICT, 3).decision == "rejected"


def test_unknown_rule_makes_it_inconclusive(evidence):
    verdict = decide((PASSED, UNKNOWN), evidence, STRICT, 3)
    assert (verdict.decision, verdict.because) == (
        "inconclusive",
        "not evaluated: reject_not_evaluated",
    )


def test_many_unknown_rules_are_counted_not_listed():
    verdict = decide((UNKNOWN,) * 9, None, STRICT, 3)
    assert verdict.because.startswith("nothing was run; not evaluated: reject_not_evaluated, ")
    assert verdict.because.endswith(" and 5 more")


def test_only_measurements_accept(evidence):
    assert decide((PASSED,), evidence, STRICT, 3).decision == "accepted"
    assert decide((PASSED,), None, STRICT, 3).decision == "inconclusive"


@pytest.mark.parametrize("outcome", ["broken", "not_evaluated"])
def test_warnings_do_not_decide(evidence, outcome):
    assert decide((PASSED, record(outcome, "warn")), evidence, STRICT, 3).decision == "accepted"


def test_foreign_hardware_never_accepts():
    elsewhere = whole_run("rerun", {"host.meets_track": False})
    assert decide((PASSED,), elsewhere, STRICT, 3).decision == "inconclusive"


def test_weak_sandbox_never_accepts(evidence):
    for name in STRICT.minimum_guarantees:
        held = tuple(g for g in evidence.guarantees if g.name != name)
        weaker = evidence.model_copy(update={"guarantees": held})
        verdict = decide((PASSED,), weaker, STRICT, 3)
        assert verdict.decision == "inconclusive" and name in verdict.because


def test_named_seeds_check_a_claim_and_never_accept():
    named = whole_run("rerun", {"plan.seeds_assigned": False})
    assert decide((PASSED,), named, STRICT, 3).decision == "inconclusive"


def test_fewer_seeds_than_the_track_asks_for_never_accept(evidence):
    assert decide((PASSED,), evidence, STRICT, 4).decision == "inconclusive"


def test_a_scripts_own_timer_never_passes_an_evaluation():
    slow = {"phases.evaluation": 700.0, "script_eval_seconds": 1.0}
    seen = whole_run("rerun", {f"measurements.0.{name}": value for name, value in slow.items()})
    rules = pipeline.judge(seen, load_rulebook(), "readme-strict").rules
    [answer] = [rule for rule in rules if rule.rule == "overlong_evaluation"]
    assert answer.outcome is Outcome.NOT_EVALUATED
