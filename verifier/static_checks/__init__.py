"""Rules decided by reading the submission: the explicit table, one line a rule."""

from verifier.static_checks import (
    claim_contradicts_log,
    claims_disagree,
    code_differs_between_seeds,
    diagnostic_taken_for_score,
    duplicate_seed_logs,
    missing_file,
    missing_seed_log,
    partial_validation,
    population_deviation,
    run_command_contradicts_log,
    script_is_not_the_logged_script,
    seed_label_mismatch,
    seed_selection,
    too_few_seeds,
    validation_documents_in_training,
    wrong_byte_denominator,
    wrong_hardware,
    wrong_nats_factor,
)
from verifier.static_checks.base import StaticCheck

STATIC_CHECKS: tuple[tuple[str, StaticCheck], ...] = (
    ("missing_file", missing_file.check),
    ("too_few_seeds", too_few_seeds.check),
    ("claim_contradicts_log", claim_contradicts_log.check),
    ("wrong_byte_denominator", wrong_byte_denominator.check),
    ("partial_validation", partial_validation.check),
    ("validation_documents_in_training", validation_documents_in_training.check),
    ("missing_seed_log", missing_seed_log.check),
    ("seed_selection", seed_selection.check),
    ("seed_label_mismatch", seed_label_mismatch.check),
    ("duplicate_seed_logs", duplicate_seed_logs.check),
    ("code_differs_between_seeds", code_differs_between_seeds.check),
    ("claims_disagree", claims_disagree.check),
    ("wrong_hardware", wrong_hardware.check),
    ("diagnostic_taken_for_score", diagnostic_taken_for_score.check),
    ("run_command_contradicts_log", run_command_contradicts_log.check),
    ("script_is_not_the_logged_script", script_is_not_the_logged_script.check),
    ("population_deviation", population_deviation.check),
    ("wrong_nats_factor", wrong_nats_factor.check),
)
