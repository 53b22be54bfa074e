"""The same ledger under each clock convention: what breaks, what passes, what cannot be told."""

import pytest
from evidence_on_file import whole_run

from verifier import pipeline
from verifier.findings import Outcome
from verifier.rulebook import load_rulebook

RULEBOOK = load_rulebook("10min_16mb")


def outcome(rule: str, profile: str = "readme-strict", phases=(), **figures) -> Outcome:
    """The answer of a rule where the first seed's phases and figures are these."""
    changes = {f"measurements.0.phases.{phase}": seconds for phase, seconds in dict(phases).items()}
    changes |= {f"measurements.0.{name}": value for name, value in figures.items()}
    rules = pipeline.judge(whole_run("rerun", changes), RULEBOOK, profile).rules
    return next(record.outcome for record in rules if record.rule == rule)


@pytest.mark.parametrize(
    ("load", "evaluation", "expected"),
    [(None, 590.0, "passed"), (200.0, 590.0, "passed"), (10.0, 610.0, "broken")],
)
def test_compiling_before_the_first_look_is_no_scoring(load, evaluation, expected):
    phases = {"load": load, "evaluation": evaluation}
    assert outcome("overlong_evaluation", phases=phases, script_eval_seconds=None) == expected


def test_compiling_after_it_leaves_only_the_scripts_word():
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
def test_a_scripts_calibration_clock_breaks_and_never_passes(said, ours, expected):
    phases = {"training": 596.0, "calibration": ours}
    figures = {"script_train_seconds": 596.0, "script_calibration_seconds": said}
    assert outcome("overlong_training", phases=phases, **figures) == expected


def test_a_loop_that_only_the_script_timed_can_break_and_never_pass():
    for said, expected in ((500.0, Outcome.NOT_EVALUATED), (700.0, Outcome.BROKEN)):
        figures = {"script_train_seconds": said, "script_calibration_seconds": None}
        assert outcome("overlong_training", phases={"training": None}, **figures) is expected


def test_calibration_is_free_where_the_loop_alone_counts():
    figures = {"script_train_seconds": 600.0, "script_calibration_seconds": 60.0}
    assert outcome("overlong_training", "leaderboard-apr29", **figures) is Outcome.PASSED


@pytest.mark.parametrize(
    ("validation", "num_validations", "expected"),
    [(None, 0, "passed"), (35.0, 1, "passed"), (150.0, 1, "not_evaluated"), (150.0, 14, "passed")],
)
def test_validation_among_the_steps_is_free_while_it_takes_what_validation_takes(
    validation, num_validations, expected
):
    phases = {"training": 599.0, "validation": validation}
    figures = {"script_train_seconds": 599.0, "num_validations": num_validations}
    profile = "leaderboard-apr29"
    assert outcome("overlong_training", profile, phases=phases, **figures) == expected


def test_training_over_the_budget_is_not_excused_by_validation():
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
def test_a_start_is_free_while_it_is_short_and_the_gpus_rest(start, gpu_seconds, expected):
    phases = {"training": 599.0, "start": start}
    figures = {"script_train_seconds": 599.0, "start_gpu_seconds": gpu_seconds}
    assert outcome("overlong_training", "leaderboard-apr29", phases=phases, **figures) == expected


def test_a_long_start_harms_nobody_who_would_have_fit_with_it():
    phases = {"training": 200.0, "start": 390.0}
    figures = {"script_train_seconds": 200.0, "start_gpu_seconds": 390.0}
    answer = outcome("overlong_training", "leaderboard-apr29", phases=phases, **figures)
    assert answer is Outcome.PASSED
