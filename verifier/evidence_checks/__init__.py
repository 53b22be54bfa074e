"""Rules decided by what was measured: the explicit table, one line a rule."""

from verifier.evidence_checks import (
    failed_run,
    inconsistent_score,
    insignificant_claim,
    insignificant_improvement,
    overlong_evaluation,
    overlong_training,
    oversized_artifact,
    unreproduced_claim,
)
from verifier.evidence_checks.base import EvidenceCheck

EVIDENCE_CHECKS: tuple[tuple[str, EvidenceCheck], ...] = (
    ("failed_run", failed_run.check),
    ("inconsistent_score", inconsistent_score.check),
    ("oversized_artifact", oversized_artifact.check),
    ("overlong_training", overlong_training.check),
    ("overlong_evaluation", overlong_evaluation.check),
    ("unreproduced_claim", unreproduced_claim.check),
    ("insignificant_improvement", insignificant_improvement.check),
    ("insignificant_claim", insignificant_claim.check),
)
