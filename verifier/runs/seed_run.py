"""One seed from launch to what it left: one process, or training and then a cold evaluation."""

import shutil
import threading
from pathlib import Path

from verifier.runs.clocks import Timeline
from verifier.runs.cold_start import Evaluation, EvaluationRequest, evaluate, prepare_watch
from verifier.runs.delivery import deliver_submission, disk_errors, fresh_folder
from verifier.runs.launch import TOKEN_LOSSES_FILE
from verifier.runs.left_files import Artifact, named_artifact, sized_artifact, written_files
from verifier.runs.measure import SeedRun, Stage
from verifier.runs.processes import Listener, Process, Setting, listening, run_process
from verifier.runs.scores import keep_token_losses, read_token_losses
from verifier.runs.visibility import Mounts, all_data, training_data
from verifier.schemas.run_record_json import EvaluationPlan

ARTIFACT_FOLDER = "artifact"
"""Below a seed's folder, where one is kept: what evaluation was given, for replays."""


def run_seed(seed: int, folder: Path, setting: Setting) -> SeedRun:
    """Run a seed; its folder is there and empty.

    Raises:
        SandboxUnavailableError: the sandbox could not start.
        RunDirectoryError: a file could not be written.
        KeyboardInterrupt: the running process was killed.
    """
    with listening(folder, setting) as listener:
        if setting.prepared.plan.evaluation is None:
            mounts = all_data(setting.prepared.data)
            return _run_whole(seed, folder, setting, mounts, listener)
        return _run_divided(seed, folder, setting, listener)


def run_beside(seed: int, folder: Path, setting: Setting, mounts: Mounts) -> SeedRun:
    """Run a seed of an undivided submission with other data in sight; raises as run_seed does."""
    with listening(folder, setting) as listener:
        return _run_whole(seed, folder, setting, mounts, listener)


def kept_artifact(folder: Path, plan: EvaluationPlan) -> dict[str, Path]:
    """The artifact that a finished seed left in its folder: name → file."""
    return {name: folder / ARTIFACT_FOLDER / name for name in plan.artifact}


def _run_whole(
    seed: int, folder: Path, setting: Setting, mounts: Mounts, listener: Listener
) -> SeedRun:
    submission = setting.harness.submission
    with fresh_folder(folder / "work") as workdir:
        delivered = deliver_submission(submission, workdir)
        process = _first_process("run", seed, workdir, setting, mounts)
        stage = run_process(process, setting, listener)
        written = written_files(workdir, delivered)
        named = (submission.contract or {}).get("artifact")
        model_bytes = stage.log.model_bytes
        artifact = named_artifact(written, named) if named else sized_artifact(written, model_bytes)
        losses_file = written.get(TOKEN_LOSSES_FILE)
        losses = read_token_losses(losses_file, setting.text.num_tokens)
        if setting.keeps_losses:
            keep_token_losses(losses_file, folder, setting.text.num_tokens)
    return SeedRun(
        seed=seed,
        stages=(stage,),
        is_divided=False,
        timeline=Timeline(line_seconds=listener.seconds, end=stage.result.wall_seconds),
        artifact=artifact,
        token_losses=losses,
        cold_start=None,
        log_path=folder / "stdout.log",
        shipped_code_bytes=setting.harness.code_bytes,
    )


def _run_divided(seed: int, folder: Path, setting: Setting, listener: Listener) -> SeedRun:
    """Train, keep the artifact alone, and evaluate it as if training had never been here."""
    plan, data = setting.prepared.plan.evaluation, setting.prepared.data
    assert plan is not None
    threading.Thread(target=prepare_watch, daemon=True).start()
    with fresh_folder(folder / "work") as workdir:
        delivered = deliver_submission(setting.harness.submission, workdir)
        process = _first_process("training", seed, workdir, setting, training_data(data))
        training = run_process(process, setting, listener)
        artifact = named_artifact(written_files(workdir, delivered), plan.artifact)
        kept = _keep(artifact, folder) if artifact and training.result.ended_well else None
    evaluation = None
    if kept is not None:
        listener.next_process(training.result.wall_seconds)
        request = EvaluationRequest(
            seed=seed, plan=plan, artifact=kept, workdir=folder / "evaluation"
        )
        evaluation = evaluate(request, setting, listener)
    return SeedRun(
        seed=seed,
        stages=(training, evaluation.stage) if evaluation else (training,),
        is_divided=True,
        timeline=_timeline(training, evaluation, listener),
        artifact=artifact,
        token_losses=evaluation.token_losses if evaluation else None,
        cold_start=evaluation.cold_start if evaluation else None,
        log_path=folder / "stdout.log",
        shipped_code_bytes=setting.harness.code_bytes,
    )


def _first_process(
    name: str, seed: int, workdir: Path, setting: Setting, mounts: Mounts
) -> Process:
    plan = setting.prepared.plan
    return Process(
        name=name,
        seed=seed,
        argv=plan.argv,
        environment=plan.environment,
        workdir=workdir,
        mounts=mounts,
    )


def _keep(artifact: Artifact, folder: Path) -> dict[str, Path]:
    """Move the artifact out of the training folder, whose rest is about to go."""
    kept = {}
    for name, file in artifact.files.items():
        kept[name] = folder / ARTIFACT_FOLDER / name
        with disk_errors(kept[name]):
            kept[name].parent.mkdir(parents=True, exist_ok=True)
            shutil.move(file.location, kept[name])
            kept[name].chmod(0o600)
    return kept


def _timeline(training: Stage, evaluation: Evaluation | None, listener: Listener) -> Timeline:
    ended = training.result.wall_seconds
    return Timeline(
        line_seconds=listener.seconds,
        end=ended + (evaluation.stage.result.wall_seconds if evaluation else 0.0),
        training_end=ended,
        evaluation_begin=ended if evaluation else None,
        first_look=evaluation.first_look if evaluation else None,
    )
