"""What a seed left behind → SeedMeasurement.

Sizes and times are ours; the script's own words stand beside them as script_*.
"""

import math
import os
from array import array
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from verifier.bounded_files import walk_folder
from verifier.log_lines import FinalMetric
from verifier.runs.plan import TOKEN_LOSSES_FILE
from verifier.sandbox.base import ExecResult
from verifier.sandbox.scratch import MAX_SCRATCH_ENTRIES
from verifier.schemas.run_record_json import (
    CodeBytes,
    Phases,
    ScoreOrigin,
    SeedMeasurement,
    SeedOutcome,
    TokenLosses,
)
from verifier.submission import Submission
from verifier.track_data import file_sha256
from verifier.training_log import TrainingLog
from verifier.units import bits_per_byte, implied_bytes

MAX_DETAIL_CHARACTERS = 300
MAX_ARTIFACT_DEPTH = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedRun:
    """Raw material of one seed's measurement."""

    seed: int
    result: ExecResult
    log: TrainingLog
    line_seconds: "array[float]"
    """Our time of each line of output, in order."""
    last_words: str
    workdir: Path
    log_path: Path
    delivered: dict[str, int]
    """Files that we put into the workdir, with their sizes."""
    shipped_code_bytes: int | None
    """Main script and what it needs, as the folder ships them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredText:
    """What a full evaluation scores; `num_bytes` is None where the track does not pin it."""

    num_tokens: int
    num_bytes: int | None


def measure(run: SeedRun, submission: Submission, text: ScoredText) -> SeedMeasurement:
    """Put together what we saw of one seed."""
    outcome, detail = _outcome(run)
    final = run.log.headline
    written = _written_files(run)
    artifact = find_artifact(written, run.log, submission)
    losses = _token_losses(written.get(TOKEN_LOSSES_FILE), text.num_tokens)
    recomputed = _recomputed_loss(losses)
    loss = recomputed if recomputed is not None else final.val_loss if final else None
    bpb, origin = _score(recomputed, final, text)
    return SeedMeasurement(
        seed=run.seed,
        outcome=outcome,
        ending=run.result.ending,
        detail=detail,
        exit_code=run.result.exit_code,
        wall_seconds=run.result.wall_seconds,
        phases=_phases(run),
        script_train_seconds=finite(_script_train_seconds(run.log)),
        script_calibration_seconds=finite(run.log.calibration_seconds),
        script_eval_seconds=finite(run.log.eval_seconds),
        script_seed=run.log.seed,
        artifact_file=artifact[0] if artifact else None,
        artifact_bytes=artifact[1] if artifact else None,
        script_artifact_bytes=run.log.model_bytes,
        code_bytes=CodeBytes(as_logged=run.log.code_bytes, literal=run.shipped_code_bytes),
        val_bpb=bpb,
        val_loss_nats=loss,
        score_origin=origin,
        script_val_bpb=final.val_bpb if final else None,
        token_losses=losses,
        score_line=final.line if final else None,
        scored_tokens=run.log.val_tokens,
        implied_bytes=_implied(run.log, final),
        num_steps=run.log.steps,
        peak_memory_bytes=run.result.peak_memory_bytes,
        output_bytes=run.result.output_bytes,
        log_sha256=file_sha256(run.log_path),
    )


def _outcome(run: SeedRun) -> tuple[SeedOutcome, str]:
    """Crash: the script failed by itself. Violation: the harness had to end it."""
    result, final = run.result, run.log.headline
    if result.ending not in ("exited", "signalled"):
        return "violation", result.detail
    if result.ending == "signalled" or result.exit_code != 0:
        said = f"; last words: {run.last_words}" if run.last_words else ""
        return "crash", (result.detail + said)[:MAX_DETAIL_CHARACTERS]
    if final is None:
        return "crash", "ended without a final score"
    if final.val_bpb is None or final.val_bpb <= 0:
        return "crash", f"its final score is no positive number (line {final.line})"
    return "completed", result.detail


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenFile:
    """A regular file that the run left behind."""

    location: Path
    num_bytes: int


def _written_files(run: SeedRun) -> dict[str, WrittenFile]:
    """What the run wrote, by its path below the workdir; what it was given unchanged is left out.

    Links, pipes and closed folders are left out too; so is everything where there is too much.
    """
    written = {}
    try:
        for entry in walk_folder(run.workdir, MAX_ARTIFACT_DEPTH, MAX_SCRATCH_ENTRIES):
            if entry.refusal is None:
                name = os.fsencode("/".join(entry.parts)).decode("utf-8", "backslashreplace")
                num_bytes = entry.location.stat(follow_symlinks=False).st_size
                if run.delivered.get(name) != num_bytes:
                    written[name] = WrittenFile(location=entry.location, num_bytes=num_bytes)
    except OverflowError:
        return {}
    return written


def find_artifact(
    written: dict[str, WrittenFile], log: TrainingLog, submission: Submission
) -> tuple[str, int] | None:
    """The artifact's name and its bytes on our disk.

    The contract names the files; without one it is the written file whose size is the one that
    the script prints for its compressed model.
    """
    named = (submission.contract or {}).get("artifact")
    if isinstance(named, list) and named and all(isinstance(name, str) for name in named):
        names = dict.fromkeys(PurePosixPath(str(name)).as_posix() for name in named)
        files = [written.get(name) for name in names]
        if any(file is None for file in files):
            return None
        return ", ".join(names), sum(file.num_bytes for file in files if file)
    for name, file in written.items():
        if file.num_bytes == log.model_bytes:
            return name, file.num_bytes
    return None


def _token_losses(file: WrittenFile | None, num_tokens: int) -> TokenLosses | None:
    """The file of float32 losses in scoring order; None where the run wrote none."""
    if file is None:
        return None
    num_losses = file.num_bytes // 4
    if file.num_bytes == 0 or file.num_bytes % 4:
        return TokenLosses(
            num_losses=num_losses, num_tokens=num_tokens, mean_nats=None, all_alike=False
        )
    import numpy as np  # 0.1 s that a paper check never needs

    losses = np.memmap(file.location, dtype="<f4", mode="r")
    low, high = float(losses.min()), float(losses.max())
    return TokenLosses(
        num_losses=num_losses,
        num_tokens=num_tokens,
        # A NaN is not at least zero either.
        mean_nats=finite(float(losses.mean(dtype=np.float64))) if low >= 0 else None,
        all_alike=low == high,
    )


def _recomputed_loss(losses: TokenLosses | None) -> float | None:
    """Mean nats a token, if every token's loss is there."""
    if losses is None or losses.num_tokens < 1 or losses.num_losses != losses.num_tokens:
        return None
    return losses.mean_nats


def _score(
    recomputed_loss: float | None, final: FinalMetric | None, text: ScoredText
) -> tuple[float | None, ScoreOrigin]:
    if recomputed_loss is not None and text.num_bytes is not None:
        return bits_per_byte(recomputed_loss, text.num_tokens, text.num_bytes), "token_losses"
    if final is None or final.val_bpb is None:
        return None, "none"
    return final.val_bpb, "printed"


def _implied(log: TrainingLog, final: FinalMetric | None) -> float | None:
    if final is None or not log.val_tokens or not final.val_loss or not final.val_bpb:
        return None
    return finite(implied_bytes(log.val_tokens, final.val_loss, final.val_bpb))


def finite(value: float | None) -> float | None:
    """The value, or None where a script's absurd figures led out of all numbers."""
    return value if value is not None and math.isfinite(value) else None


def _script_train_seconds(log: TrainingLog) -> float | None:
    if log.train_seconds is not None:
        return log.train_seconds
    clocks = [p.train_seconds for p in log.train_points]
    clocks += [p.train_seconds for p in log.validation_points]
    return max((s for s in clocks if s is not None), default=None)


def _phases(run: SeedRun) -> Phases:
    """Cut our time at the lines that mark the script's own progress."""
    first, last, packed, scored = _marks(run.log)
    times = [_at(run.line_seconds, line) for line in (first, last, packed, scored)]
    edges: list[float | None] = [0.0, *times, run.result.wall_seconds]
    lengths = [
        end - begin if begin is not None and end is not None and end >= begin else None
        for begin, end in zip(edges, edges[1:], strict=False)
    ]
    start, training, serialise, evaluation, finish = lengths
    if training is not None and start is not None:
        # The first step line stands at that step's end, so its own time is training too; what the
        # script says of it counts no further than our clock allows.
        said_seconds = run.log.train_points[0].train_seconds or 0.0
        training += min(max(said_seconds, 0.0), start)
    return Phases(
        start=start, training=training, serialise=serialise, evaluation=evaluation, finish=finish
    )


def _marks(log: TrainingLog) -> tuple[int | None, int | None, int | None, int | None]:
    """Lines of the first step, the end of training, the packed artifact, the final score."""
    packed = log.lines.get("model_bytes")
    scored = log.headline.line if log.headline else None
    first = log.train_points[0].line if log.train_points else None
    ends = [p.line for p in log.train_points] + [p.line for p in log.validation_points]
    ends += [log.lines["train_seconds"]] if "train_seconds" in log.lines else []
    before = [line for line in ends if packed is None or line < packed]
    return first, max(before, default=None), packed, scored


def _at(line_seconds: "array[float]", line: int | None) -> float | None:
    return line_seconds[line - 1] if line is not None and line <= len(line_seconds) else None
