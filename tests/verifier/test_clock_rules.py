"""The same ledger under each clock convention: what breaks, what passes, what cannot be told."""

import pytest

from verifier import pipeline
from verifier.findings import Outcome
from verifier.rulebook import load_rulebook
from verifier.schemas.run_record_json import Evidence

RULEBOOK = load_rulebook("10min_16mb")


@pytest.fixture
def outcome(request):
    """The answer of a rule where the first seed's phases and figures are these."""
    path = request.path.parent / "rule_cases" / "failed_run" / "clean.json"
    evidence = Evidence.model_validate_json(path.read_bytes())

    def ask(rule: str, profile: str = "readme-strict", phases=(), **figures) -> Outcome:
        first, *others = evidence.measurements
        changed = first.phases.model_copy(update=dict(phases))
        seed = first.model_copy(update={"phases": changed, **figures})
        seen = evidence.model_copy(update={"measurements": (seed, *others)})
        rules = pipeline.judge(seen, RULEBOOK, profile).rules
        return next(record.outcome for record in rules if record.rule == rule)

    return ask


@pytest.mark.parametrize(
    ("load", "evaluation", "expected"),
    [(None, 590.0, "passed"), (200.0, 590.0, "passed"), (10.0, 610.0, "broken")],
)
def test_compiling_before_the_first_look_is_no_scoring(outcome, load, evaluation, expected):
    phases = {"load": load, "evaluation": evaluation}
    assert outcome("overlong_evaluation", phases=phases, script_eval_seconds=None) == expected


def test_compiling_after_it_leaves_only_the_scripts_word(outcome):
    phases = {"load": 10.0, "evaluation": 700.0}
    answer = outcome("overlong_evaluation", phases=phases, script_eval_seconds=500.0)
    assert answer is Outcome.NOT_EVALUATED


@pytest.mark.parametrize(
    ("said", "ours", "expected"),
    [
        (3.5, 3.9, "passed"),
        (3.5, 20.0, "not_evaluated"),
        (20.0, 20.0, "broken"),
        (3.5, None, "not_evaluated"),
    ],
)
def test_a_scripts_calibration_clock_breaks_and_never_passes(outcome, said, ours, expected):
    phases = {"training": 596.0, "calibration": ours}
    figures = {"script_train_seconds": 596.0, "script_calibration_seconds": said}
    assert outcome("overlong_training", phases=phases, **figures) == expected


def test_a_loop_that_only_the_script_timed_can_break_and_never_pass(outcome):
    for said, expected in ((500.0, Outcome.NOT_EVALUATED), (700.0, Outcome.BROKEN)):
        figures = {"script_train_seconds": said, "script_calibration_seconds": None}
        assert outcome("overlong_training", phases={"training": None}, **figures) is expected


def test_calibration_is_free_where_the_loop_alone_counts(outcome):
    figures = {"script_train_seconds": 600.0, "script_calibration_seconds": 60.0}
    assert outcome("overlong_training", "leaderboard-apr29", **figures) is Outcome.PASSED


@pytest.mark.parametrize(
    ("validation", "num_validations", "expected"),
    [(None, 0, "passed"), (35.0, 1, "passed"), (150.0, 1, "not_evaluated"), (150.0, 14, "passed")],
)
def test_validation_among_the_steps_is_free_while_it_takes_what_validation_takes(
    outcome, validation, num_validations, expected
):
    phases = {"training": 599.0, "validation": validation}
    figures = {"script_train_seconds": 599.0, "num_validations": num_validations}
    profile = "leaderboard-apr29"
    assert outcome("overlong_training", profile, phases=phases, **figures) == expected


def test_training_over_the_budget_is_not_excused_by_validation(outcome):
    phases = {"training": 610.0, "validation": 5.0}
    answer = outcome("overlong_training", phases=phases, num_validations=1)
    assert answer is Outcome.BROKEN


@pytest.mark.parametrize(
    ("start", "gpu_seconds", "expected"),
    [
        (115.0, 7.0, "passed"),
        (115.0, None, "passed"),
        (400.0, 7.0, "not_evaluated"),
        (115.0, 90.0, "not_evaluated"),
    ],
)
def test_a_start_is_free_while_it_is_short_and_the_gpus_rest(outcome, start, gpu_seconds, expected):
    phases = {"training": 599.0, "start": start}
    figures = {"script_train_seconds": 599.0, "start_gpu_seconds": gpu_seconds}
    assert outcome("overlong_training", "leaderboard-apr29", phases=phases, **figures) == expected


def test_a_long_start_harms_nobody_who_would_have_fit_with_it(outcome):
    phases = {"training": 200.0, "start": 390.0}
    figures = {"script_train_seconds": 200.0, "start_gpu_seconds": 390.0}
    answer = outcome("overlong_training", "leaderboard-apr29", phases=phases, **figures)
    assert answer is Outcome.PASSED
