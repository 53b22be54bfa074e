"""Artifact plus code under each byte convention: what is claimed, and what was measured."""

from collections.abc import Sequence
from typing import get_args

from verifier.schemas.profile_yaml import ByteCount
from verifier.schemas.run_record_json import ClaimedValues, CodeBytes, SeedClaimed, SeedMeasurement
from verifier.schemas.verdict_json import ArtifactSize


def artifact_sizes(
    claims: ClaimedValues, measured: Sequence[SeedMeasurement], cap_bytes: int
) -> tuple[ArtifactSize, ...]:
    """The largest seed's total under every convention; of our runs where there are any."""
    sizes = []
    for convention in get_args(ByteCount):
        totals = [measured_total(seed, convention) for seed in measured]
        if not measured:
            totals = [claimed_total(s, claims.code_bytes, convention) for s in claims.seeds]
        if not measured and convention == "as_logged" and not any(totals):
            totals = [claims.bytes_total]
        largest = max((total for total in totals if total is not None), default=None)
        sizes.append(ArtifactSize(byte_count=convention, total_bytes=largest, cap_bytes=cap_bytes))
    return tuple(sizes)


def claimed_total(seed: SeedClaimed, shipped: CodeBytes, convention: ByteCount) -> int | None:
    """What a log says of the model, plus the folder's code; None where one of them is missing."""
    if convention == "as_logged":
        return seed.total_bytes
    return _sum(seed.model_bytes, getattr(shipped, convention))


def measured_total(seed: SeedMeasurement, convention: ByteCount) -> int | None:
    """The artifact on our disk plus the code; None where one of them was not measured."""
    return _sum(seed.artifact_bytes, getattr(seed.code_bytes, convention))


def _sum(model_bytes: int | None, code_bytes: int | None) -> int | None:
    return None if model_bytes is None or code_bytes is None else model_bytes + code_bytes
