"""What a seed left behind → SeedMeasurement.

Sizes and times are ours; the script's own words stand beside them as script_*.
"""

from dataclasses import dataclass
from pathlib import Path

from verifier.claims.learning import learning_of
from verifier.claims.log_lines import FinalMetric
from verifier.claims.training_log import TrainingLog, TrainingLogReader
from verifier.runs.clocks import Timeline, phases, validations_in_training
from verifier.runs.left_files import Artifact
from verifier.runs.loss_curve import loss_per_log_step, losses_sha256
from verifier.runs.scores import ScoredText, choose_score, finite
from verifier.sandbox.base import ExecResult
from verifier.schemas.run_record_json import (
    CodeBytes,
    ColdStart,
    SeedMeasurement,
    SeedOutcome,
    TokenLosses,
)
from verifier.track_data import file_sha256
from verifier.units import implied_bytes

MAX_DETAIL_CHARACTERS = 300
NUM_FIRST_LOSSES = 5
NO_LOG = TrainingLogReader().result()


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One process of a seed: all of it, or its training, or its evaluation."""

    name: str
    result: ExecResult
    log: TrainingLog
    last_words: str
    rank_failed: bool
    """Whether the launcher told that a rank ended by itself, with an error."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedRun:
    """Raw material of one seed's measurement."""

    seed: int
    stages: tuple[Stage, ...]
    is_divided: bool
    """Whether evaluation was to be a process of its own; a failed training has none."""
    timeline: Timeline
    artifact: Artifact | None
    token_losses: TokenLosses | None
    cold_start: ColdStart | None
    log_path: Path
    shipped_code_bytes: CodeBytes
    """Main script and what it needs, as the folder ships them."""

    @property
    def training(self) -> TrainingLog:
        return self.stages[0].log

    @property
    def scored(self) -> TrainingLog:
        """The log that the score is read from; what training prints is no score of evaluation."""
        return self.stages[-1].log if self.is_divided == (len(self.stages) == 2) else NO_LOG


def measure(run: SeedRun, text: ScoredText) -> SeedMeasurement:
    """Put together what we saw of one seed."""
    outcome, detail = _outcome(run)
    final, training, artifact = run.scored.headline, run.training, run.artifact
    last, score = run.stages[-1].result, choose_score(run.token_losses, final, text)
    return SeedMeasurement(
        seed=run.seed,
        outcome=outcome,
        ending=last.ending,
        detail=detail,
        exit_code=last.exit_code,
        wall_seconds=run.timeline.end,
        phases=phases(run.timeline, training, run.scored),
        script_train_seconds=finite(_script_train_seconds(training)),
        script_calibration_seconds=finite(training.calibration_seconds),
        script_eval_seconds=finite(run.scored.eval_seconds),
        script_seed=training.seed,
        artifact_file=artifact.name if artifact else None,
        artifact_bytes=artifact.num_bytes if artifact else None,
        artifact_sha256=artifact.sha256 if artifact else None,
        script_artifact_bytes=training.model_bytes,
        code_bytes=run.shipped_code_bytes.model_copy(update={"as_logged": training.code_bytes}),
        val_bpb=score.bpb,
        val_loss_nats=score.loss_nats,
        score_origin=score.origin,
        script_val_bpb=final.val_bpb if final else None,
        token_losses=run.token_losses,
        score_line=final.line if final else None,
        scored_tokens=run.scored.val_tokens,
        implied_bytes=_implied(run.scored, final),
        num_steps=training.steps,
        num_validations=len(validations_in_training(training)),
        losses_sha256=losses_sha256(training.train_points),
        first_losses=tuple(p.train_loss for p in training.train_points[:NUM_FIRST_LOSSES]),
        loss_per_log_step=loss_per_log_step(training.train_points),
        peak_memory_bytes=max(stage.result.peak_memory_bytes for stage in run.stages),
        output_bytes=sum(stage.result.output_bytes for stage in run.stages),
        log_sha256=file_sha256(run.log_path),
        learning=learning_of(training, run.scored),
        cold_start=run.cold_start,
    )


def failed_by_machine(seen: SeedMeasurement, reason: str) -> SeedMeasurement:
    """The measurement of an attempt that the machine failed: whatever it scored is not told."""
    return seen.model_copy(
        update={
            "outcome": "infrastructure",
            "detail": reason,
            "val_bpb": None,
            "val_loss_nats": None,
            "script_val_bpb": None,
            "token_losses": None,
            "learning": None,
            "score_origin": "none",
        }
    )


def _outcome(run: SeedRun) -> tuple[SeedOutcome, str]:
    """Crash: the script failed by itself. Violation: the harness had to end it."""
    stage, final = run.stages[-1], run.scored.headline
    result, where = stage.result, f"{stage.name}: " if run.is_divided else ""
    ended_by_itself = result.ending in ("exited", "signalled") or stage.rank_failed
    if not ended_by_itself:
        return "violation", where + result.detail
    if result.exit_code != 0:
        said = f"; last words: {stage.last_words}" if stage.last_words else ""
        return "crash", (where + result.detail + said)[:MAX_DETAIL_CHARACTERS]
    if run.is_divided and len(run.stages) < 2:
        return "crash", "training left none of the artifact that pgolf.yaml names"
    if final is None:
        return "crash", _unfinished(stage.log)
    if final.val_bpb is None or final.val_bpb <= 0:
        return "crash", f"its final score is no positive number (line {final.line})"
    return "completed", result.detail


def _unfinished(log: TrainingLog) -> str:
    """Why there is no score, as far as the log tells."""
    if log.unread:
        first = log.unread[0]
        return f"ended without a final score; line {first.line} looks like one and is none"
    return "ended without a final score"


def _implied(log: TrainingLog, final: FinalMetric | None) -> float | None:
    if final is None or not log.val_tokens or not final.val_loss or not final.val_bpb:
        return None
    return finite(implied_bytes(log.val_tokens, final.val_loss, final.val_bpb))


def _script_train_seconds(log: TrainingLog) -> float | None:
    if log.train_seconds is not None:
        return log.train_seconds
    clocks = [p.train_seconds for p in log.train_points]
    clocks += [p.train_seconds for p in log.validation_points]
    return max((s for s in clocks if s is not None), default=None)
