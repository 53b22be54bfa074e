"""The verdict as a file: `verdict.json` and each line of `--format json`."""

from typing import Literal

from verifier.schemas.base import StrictModel
from verifier.schemas.floor_record_json import FloorRecord
from verifier.schemas.fresh_record_json import FreshRecord
from verifier.schemas.probe_record_json import ProbeRecord
from verifier.schemas.profile_yaml import ByteCount
from verifier.schemas.rule_record_json import RuleRecord
from verifier.schemas.run_record_json import (
    ClaimedValues,
    Guarantee,
    Mutation,
    Rung,
    SeedMeasurement,
)
from verifier.schemas.sampled_record_json import SampledRecord
from verifier.schemas.significance_json import SignificanceRecord
from verifier.schemas.stream_record_json import StreamRecord


class ArtifactSize(StrictModel):
    """Model plus code of the largest seed under one byte convention."""

    byte_count: ByteCount
    total_bytes: int | None
    """None where the model or the code has no known size."""
    cap_bytes: int


class ProfileVerdict(StrictModel):
    """The verdict that another profile would give on the same evidence."""

    profile: str
    verdict: Literal["accepted", "rejected", "inconclusive"]
    because: str


class VerdictFile(StrictModel):
    """One submission's verdict with everything a report needs to be redrawn."""

    schema_version: Literal[1] = 1
    submission: str
    commit: str | None
    submission_sha256: str
    track: str
    profile: str
    rung: Rung
    verdict: Literal["accepted", "rejected", "inconclusive"]
    because: str
    next_command: str | None
    """What would decide an inconclusive verdict, and on which machine."""
    rules: tuple[RuleRecord, ...]
    claims: ClaimedValues
    measurements: tuple[SeedMeasurement, ...] = ()
    replications: tuple[SeedMeasurement, ...] = ()
    mutations: tuple[Mutation, ...] = ()
    floor: FloorRecord | None = None
    probe: ProbeRecord | None = None
    streams: tuple[StreamRecord, ...] = ()
    sampled: SampledRecord | None = None
    fresh: FreshRecord | None = None
    sizes: tuple[ArtifactSize, ...] = ()
    """Of our runs, and of the claims where nothing was run."""
    significance: SignificanceRecord | None = None
    guarantees: tuple[Guarantee, ...] = ()
    other_profiles: tuple[ProfileVerdict, ...] = ()
    unread: tuple[str, ...] = ()
    """What in the folder could not be read, one line each."""
