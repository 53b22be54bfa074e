"""The rung itself: we score every finished seed's artifact, and decode the first one's code."""

import secrets
from collections.abc import Sequence

import numpy as np

from verifier.runs.delivery import disk_errors
from verifier.runs.harness import Executed, Harness
from verifier.runs.journal import recorded, write_record
from verifier.runs.plan import PreparedRun
from verifier.runs.processes import Setting
from verifier.runs.scores import KEPT_LOSSES
from verifier.schemas.run_record_json import SeedMeasurement
from verifier.schemas.stream_record_json import NO_STREAM, DecodeRecord, StreamRecord
from verifier.stream.comparison import compared
from verifier.stream.pieces import count_documents
from verifier.stream.protocol import BrokenStreamError, Tokens
from verifier.stream.streaming import Scored, Streaming
from verifier.track_data import HEADER_BYTES, TrackData, is_validation
from verifier.units import bits_per_byte

SECRET_BYTES = 16


def stream(prepared: PreparedRun, harness: Harness, executed: Executed) -> tuple[StreamRecord, ...]:
    """Stream every seed, in the order of the plan; records on disk are taken from there.

    Raises:
        SandboxUnavailableError: the sandbox could not start.
        RunDirectoryError: a file could not be written.
        KeyboardInterrupt: the running process was killed.
    """
    setting = Setting(prepared=prepared, harness=harness)
    return tuple(
        _finish(setting, seed, decodes=seed is executed.measurements[0])
        for seed in executed.measurements
    )


def _finish(setting: Setting, seed: SeedMeasurement, *, decodes: bool) -> StreamRecord:
    folder = setting.harness.journal.folder / f"stream_{seed.seed}"
    if (done := recorded(folder / "stream.json", StreamRecord)) is not None:
        return done
    setting.harness.observer.run_started(f"seed {seed.seed} predicts token by token")
    record = _streamed(setting, seed, decodes=decodes)
    with disk_errors(folder):
        folder.mkdir(exist_ok=True)
    write_record(folder / "stream.json", record)
    return record


def _streamed(setting: Setting, seed: SeedMeasurement, *, decodes: bool) -> StreamRecord:
    """The secret is drawn here, when the artifact has long been written."""
    tape = _validation_tape(setting.prepared.data)
    record = StreamRecord(
        seed=seed.seed, secret=secrets.token_hex(SECRET_BYTES), tape_targets=len(tape) - 1
    )
    evaluation = setting.prepared.plan.evaluation
    if evaluation is None or evaluation.stream is None:
        return record.model_copy(update={"not_evaluated": NO_STREAM})
    if seed.outcome != "completed":
        return record.model_copy(update={"not_evaluated": f"{seed.outcome}: {seed.detail}"})
    streaming = Streaming(
        setting=setting,
        seed=seed.seed,
        evaluation=evaluation,
        plan=evaluation.stream,
        tape=tape,
    )
    passages = streaming.passages(np.random.default_rng(int(record.secret, 16)))
    num_drawn = sum(len(passage.targets) for passage in passages)
    record = record.model_copy(update={"num_drawn": num_drawn})
    most_seconds = setting.harness.track.stream.most_seconds.value
    try:
        scored = [
            part
            for i, passage in enumerate(passages)
            for part in streaming.score(
                passage, f"score_{i}", most_seconds * len(passage.targets) / num_drawn
            )
        ]
    except BrokenStreamError as error:
        return record.model_copy(update={"broken": str(error)})
    record = record.model_copy(update=_told(scored, streaming))
    if decodes:
        record = record.model_copy(update={"decoded": _decoded(scored, streaming)})
    return record


def _told(scored: Sequence[Scored], streaming: Streaming) -> dict[str, object]:
    """What the losses say, by themselves and beside those of the fast evaluation."""
    setting, tape = streaming.setting, streaming.tape
    pieces = [piece for one in scored for piece in one.passage.pieces]
    losses = np.concatenate([one.losses for one in scored])
    kept = setting.harness.journal.seed_folder(streaming.seed) / KEPT_LOSSES
    evaluated = np.fromfile(kept, dtype="<f4") if kept.exists() else None
    mean, num_bytes = float(losses.mean()), setting.text.num_bytes
    is_whole = len(losses) == len(tape) - 1 and num_bytes is not None
    told: dict[str, object] = {
        "num_targets": len(losses),
        "num_pieces": len(pieces),
        "num_documents": count_documents(pieces, tape),
        "num_sessions": len(scored),
        "vocabulary": scored[0].vocabulary,
        "loss_nats": mean,
        "bits_per_byte": bits_per_byte(mean, len(losses), num_bytes or 1) if is_whole else None,
        "largest_excess_nats": max(one.largest_excess for one in scored),
        "wall_seconds": sum(one.wall_seconds for one in scored),
        "predicting_seconds": sum(one.predicting_seconds for one in scored),
    }
    return told | compared(losses, pieces, evaluated)


def _decoded(scored: Sequence[Scored], streaming: Streaming) -> DecodeRecord:
    """Every code through a second cold start, which nobody has shown the text."""
    targets = np.concatenate([one.passage.targets for one in scored])
    record = DecodeRecord(
        num_targets=len(targets),
        code_bytes=sum(len(one.code) for one in scored),
        score_bytes=sum(float(one.losses.sum()) for one in scored) / np.log(2.0) / 8,
        first_difference=None,
        wall_seconds=0.0,
    )
    try:
        decoded = [streaming.decode(one, f"decode_{i}") for i, one in enumerate(scored)]
    except BrokenStreamError as error:
        return record.model_copy(update={"broken": str(error)})
    differs = np.flatnonzero(np.concatenate([one.targets for one in decoded]) != targets)
    return record.model_copy(
        update={
            "first_difference": int(differs[0]) if len(differs) else None,
            "wall_seconds": sum(one.wall_seconds for one in decoded),
        }
    )


def _validation_tape(data: TrackData) -> Tokens:
    """(N + 1,) all validation tokens in order."""
    shards = [data.folder / file.path for file in data.files if is_validation(file.path)]
    return np.concatenate([np.fromfile(s, "<u2", offset=HEADER_BYTES) for s in shards])
