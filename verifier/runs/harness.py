"""What every run of a plan shares, and what all of them together give."""

from dataclasses import dataclass
from typing import Protocol

from verifier.claims.training_log import TrainingLogReader
from verifier.intake.submission import Submission
from verifier.runs.journal import Journal
from verifier.runs.scores import ScoredText
from verifier.sandbox.base import Sandbox
from verifier.sandbox.limits import SandboxLimits
from verifier.schemas.run_record_json import CodeBytes, Independence, Mutation, SeedMeasurement
from verifier.schemas.track_yaml import Limits, Track


class RunObserver(Protocol):
    """Who watches a run; shows, never decides."""

    def note(self, text: str) -> None:
        """A line for whoever watches, beside what the runs say."""

    def run_started(self, label: str) -> None:
        """A run begins; what is told next is of it."""

    def stage_started(self, name: str, seconds: float, limits: Limits, is_small: bool) -> None:
        """A process of the run begins, so many seconds after the first; small: no budget holds."""

    def line_read(self, seconds: float, reader: TrainingLogReader) -> None:
        """The reader knows one more line, printed so many seconds after the run began."""

    def seed_finished(self, measurement: SeedMeasurement, repeated: bool) -> None:
        """A seed has its measurement; repeated: it had it before, and was not run again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Harness:
    """Everything a run needs beside its plan."""

    submission: Submission
    code_bytes: CodeBytes
    """What the folder ships of code; None where that is unclear."""
    track: Track
    sandbox: Sandbox
    journal: Journal
    observer: RunObserver


@dataclass(frozen=True, kw_only=True, slots=True)
class Executed:
    """All that the runs of a plan gave."""

    measurements: tuple[SeedMeasurement, ...]
    replications: tuple[SeedMeasurement, ...]
    mutations: tuple[Mutation, ...]
    independence: Independence | None


def sandbox_limits(limits: Limits) -> SandboxLimits:
    """The track's hard limits as the sandbox takes them."""
    return SandboxLimits(
        wall_seconds=limits.hard_wall_seconds.value,
        memory_bytes=int(limits.memory_bytes.value),
        num_processes=int(limits.num_processes.value),
        output_bytes=int(limits.output_bytes.value),
        scratch_bytes=int(limits.scratch_bytes.value),
    )


def scored_text(track: Track, num_tokens: int) -> ScoredText:
    """How many bytes of text the validation tokens stand for, where the track pins it."""
    return ScoredText(num_tokens=num_tokens, num_bytes=track.dataset.scored_bytes(num_tokens))
