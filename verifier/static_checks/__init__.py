"""Rules decided by reading the submission: the explicit table, one line a rule."""

from verifier.static_checks import (
    claim_contradicts_log,
    missing_file,
    partial_validation,
    too_few_seeds,
    validation_documents_in_training,
    wrong_byte_denominator,
)
from verifier.static_checks.base import StaticCheck

STATIC_CHECKS: tuple[tuple[str, StaticCheck], ...] = (
    ("missing_file", missing_file.check),
    ("too_few_seeds", too_few_seeds.check),
    ("claim_contradicts_log", claim_contradicts_log.check),
    ("wrong_byte_denominator", wrong_byte_denominator.check),
    ("partial_validation", partial_validation.check),
    ("validation_documents_in_training", validation_documents_in_training.check),
)
