"""Claims beside measurements: what a verdict may rest on, in one record."""

import datetime
from dataclasses import dataclass

from verifier.claims.learning import learning_of
from verifier.claims.seed_by_seed import Claims, LogClaim
from verifier.claims.training_log import TrainingLog
from verifier.intake.submission import Submission
from verifier.runs.harness import Executed
from verifier.runs.loss_curve import losses_sha256
from verifier.runs.visibility import TRAINING
from verifier.sandbox.base import Enforcement
from verifier.schemas.floor_record_json import FloorRecord
from verifier.schemas.fresh_record_json import FreshRecord
from verifier.schemas.probe_record_json import ProbeRecord
from verifier.schemas.rule_record_json import RuleRecord
from verifier.schemas.run_record_json import (
    ClaimedValues,
    CodeBytes,
    Evidence,
    Guarantee,
    HostReport,
    RunPlan,
    SeedClaimed,
    SeedMeasurement,
)
from verifier.schemas.sampled_record_json import SampledRecord
from verifier.schemas.stream_record_json import StreamRecord
from verifier.schemas.submission_json import Metadata, SeedClaim


@dataclass(frozen=True, kw_only=True, slots=True)
class Paper:
    """A submission read and checked without running it."""

    submission: Submission
    claims: Claims
    code_bytes: CodeBytes
    rules: tuple[RuleRecord, ...]
    score_followed: bool
    """Whether the code was followed from the validation tokens' losses to the claimed print."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What the harness saw: the runs, what the sandbox held, the machine."""

    executed: Executed
    enforcements: tuple[Enforcement, ...]
    host: HostReport
    floor: FloorRecord | None = None
    probe: ProbeRecord | None = None
    streams: tuple[StreamRecord, ...] = ()
    sampled: SampledRecord | None = None
    fresh: FreshRecord | None = None


def claimed_values(paper: Paper) -> ClaimedValues:
    """What the folder says: submission.json as a whole, and each log behind its claim."""
    claims, metadata = paper.claims, paper.claims.metadata
    text = next((log for log in claims.claiming_logs if log.implied_validation_bytes), None)
    implied = text.implied_validation_bytes if text else None
    return ClaimedValues(
        val_bpb=claims.headline_bpb,
        val_bpb_std=metadata.val_bpb_std if metadata else None,
        bytes_total=metadata.bytes_total if metadata else None,
        code_bytes=paper.code_bytes,
        date=submission_date(paper.submission, claims),
        claimed_bpbs=claims.claimed_bpbs,
        scored_tokens=text.log.val_tokens if text else None,
        implied_bytes=implied.value if implied else None,
        nats_per_bpb=_nats_per_bpb(claims),
        seeds=tuple(_seed_claimed(claims, log) for log in claims.claiming_logs)
        or _stated_runs(metadata),
    )


def _nats_per_bpb(claims: Claims) -> float | None:
    """Of the first claimed score that is printed with its loss."""
    for metric in map(claims.claimed_metric, claims.claiming_logs):
        loss, bpb = (metric.val_loss, metric.val_bpb) if metric else (None, None)
        if loss and bpb and loss > 0 and bpb > 0:
            return loss / bpb
    return None


def _stated_runs(metadata: Metadata | None) -> tuple[SeedClaimed, ...]:
    """What submission.json says of runs without a scored log: its seeds, else itself as one run."""
    if metadata is None:
        return ()
    runs: list[tuple[SeedClaim | Metadata, int | None, int | None]]
    runs = [(claim, claim.seed, claim.artifact_bytes) for claim in metadata.per_seed]
    return tuple(
        SeedClaimed(
            seed=seed,
            val_bpb=stated.val_bpb,
            total_bytes=total_bytes,
            model_bytes=None,
            train_seconds=stated.train_seconds,
            calibration_seconds=None,
            compile_warmup_seconds=None,
            eval_seconds=stated.eval_seconds,
            source="submission.json",
        )
        for stated, seed, total_bytes in runs or [(metadata, None, None)]
    )


def _seed_claimed(claims: Claims, claim: LogClaim) -> SeedClaimed:
    """One log; evaluation is timed by the line that carries the claim, where that line is timed."""
    log, metric = claim.log, claims.claimed_metric(claim)
    lines, eval_seconds = dict(log.lines), log.eval_seconds
    if metric is not None and metric.eval_seconds is not None:
        lines["eval_seconds"], eval_seconds = metric.line, metric.eval_seconds
    return SeedClaimed(
        seed=claim.seed,
        val_bpb=claim.val_bpb,
        num_steps=log.steps,
        losses_sha256=losses_sha256(log.train_points),
        total_bytes=None if claims.is_another_packing(claim) else log.total_bytes,
        model_bytes=None if claims.is_another_packing(claim) else _model_bytes(log),
        train_seconds=log.train_seconds,
        calibration_seconds=log.calibration_seconds,
        calibrates_on_data=log.calibration_data is not None,
        compile_warmup_seconds=log.compile_warmup_seconds,
        eval_seconds=eval_seconds,
        serialize_seconds=log.serialize_seconds,
        deserialize_seconds=log.deserialize_seconds,
        source=str(claim.file.path),
        lines=lines,
        learning=learning_of(log, log),
    )


def _model_bytes(log: TrainingLog) -> int | None:
    """As printed, else what is left of the printed total without the code."""
    if log.model_bytes is not None or log.total_bytes is None or log.code_bytes is None:
        return log.model_bytes
    return log.total_bytes - log.code_bytes


def submission_date(submission: Submission, claims: Claims) -> datetime.date | None:
    """The date that submission.json gives, else the one that the folder's name begins with."""
    stated = (claims.metadata.date or "") if claims.metadata else ""
    for text in (stated, submission.name.replace("_", "-")):
        try:
            return datetime.date.fromisoformat(text[:10])
        except ValueError:
            continue
    return None


def unread_lines(submission: Submission, claims: Claims) -> tuple[str, ...]:
    """Everything in the folder that could not be read, a line each."""
    lines = [f"{problem.path}: {problem.message}" for problem in submission.problems]
    for log in claims.logs:
        lines += [f"{log.file.path}:{line.line}: {line.text}" for line in log.log.unread]
    return tuple(lines)


def collect(plan: RunPlan, paper: Paper, seen: Seen) -> Evidence:
    """Put claims and measurements into the record that is judged."""
    measurements = _with_streamed_scores(seen)
    return Evidence(
        plan=plan,
        submission_date=submission_date(paper.submission, paper.claims),
        claims=claimed_values(paper),
        paper=paper.rules,
        unread=unread_lines(paper.submission, paper.claims),
        measurements=measurements,
        replications=seen.executed.replications,
        mutations=seen.executed.mutations,
        independence=seen.executed.independence,
        floor=seen.floor,
        probe=seen.probe,
        streams=seen.streams,
        sampled=seen.sampled,
        fresh=seen.fresh,
        guarantees=(
            *(Guarantee(name=e.name, grade=e.grade, detail=e.detail) for e in seen.enforcements),
            score_guarantee(plan, measurements, paper.score_followed),
        ),
        host=seen.host,
    )


def _with_streamed_scores(seen: Seen) -> tuple[SeedMeasurement, ...]:
    """The seeds' measurements; where all validation data was streamed, our own score counts.

    Streaming proves nothing to whoever could look at the data beside it.
    """
    is_hidden = any(e.name == TRAINING and e.grade == "proved" for e in seen.enforcements)
    streams = {s.seed: s for s in seen.streams if is_hidden and s.bits_per_byte is not None}
    return tuple(
        m.model_copy(
            update={
                "val_bpb": streams[m.seed].bits_per_byte,
                "val_loss_nats": streams[m.seed].loss_nats,
                "score_origin": "streamed",
            }
        )
        if m.seed in streams
        else m
        for m in seen.executed.measurements
    )


def score_guarantee(
    plan: RunPlan, measurements: tuple[SeedMeasurement, ...], score_followed: bool
) -> Guarantee:
    """What stands behind the scores of our runs, at the seed with the least behind it.

    Losses and prints alike are written by the script: they are no more than observed.
    """
    if measurements and all(m.score_origin == "streamed" for m in measurements):
        detail = "added up by us from distributions that we held before each token was shown"
        return Guarantee(name="score", grade="proved", detail=detail)
    if score_followed:
        detail = "made by code that was followed to the losses of the validation tokens"
        return Guarantee(name="score", grade="observed", detail=detail)
    added_up = all(m.score_origin == "token_losses" for m in measurements)
    if added_up and plan.evaluation is not None:
        detail = "added up by us from the losses of an evaluation apart from training"
        return Guarantee(name="score", grade="observed", detail=detail)
    why = "no evaluation apart wrote losses"
    losses = [m.token_losses for m in measurements if m.token_losses is not None]
    for short in (one for one in losses if one.num_losses != one.num_tokens):
        why = f"losses were written of {short.num_losses:,} of {short.num_tokens:,} tokens"
    detail = f"the script's word: its code was not followed, and {why}"
    return Guarantee(name="score", grade="absent", detail=detail)
