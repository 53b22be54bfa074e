"""Rules decided by what was measured: the explicit table, one line a rule."""

from verifier.evidence_checks import (
    artifact_ignored,
    below_entropy_floor,
    dropped_tokens,
    failed_run,
    inconsistent_score,
    insignificant_claim,
    insignificant_improvement,
    miscounted_bytes,
    overlong_evaluation,
    overlong_training,
    oversized_artifact,
    rewritten_artifact,
    seed_ignored,
    uncounted_evaluation_file,
    unreplicated_seed,
    unreproduced_claim,
    validation_seen_in_training,
)
from verifier.evidence_checks.base import EvidenceCheck

EVIDENCE_CHECKS: tuple[tuple[str, EvidenceCheck], ...] = (
    ("failed_run", failed_run.check),
    ("inconsistent_score", inconsistent_score.check),
    ("oversized_artifact", oversized_artifact.check),
    ("overlong_training", overlong_training.check),
    ("overlong_evaluation", overlong_evaluation.check),
    ("seed_ignored", seed_ignored.check),
    ("artifact_ignored", artifact_ignored.check),
    ("rewritten_artifact", rewritten_artifact.check),
    ("uncounted_evaluation_file", uncounted_evaluation_file.check),
    ("validation_seen_in_training", validation_seen_in_training.check),
    ("below_entropy_floor", below_entropy_floor.check),
    ("dropped_tokens", dropped_tokens.check),
    ("miscounted_bytes", miscounted_bytes.check),
    ("unreproduced_claim", unreproduced_claim.check),
    ("unreplicated_seed", unreplicated_seed.check),
    ("insignificant_improvement", insignificant_improvement.check),
    ("insignificant_claim", insignificant_claim.check),
)
