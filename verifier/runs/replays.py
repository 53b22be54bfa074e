"""Runs beside the seeds: evaluation on artifacts that are not its own, training beside other data.

A score must come from the artifact: with a corrupted one it must change, or evaluation must refuse
it; where it refuses, it gets the artifact of another seed, which is in order and not its own.
Training must not know the validation data: beside another validation set it must be the same.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from verifier.claims.training_log import TrainPoint, read_training_log
from verifier.runs.cold_start import EvaluationRequest, evaluate
from verifier.runs.delivery import disk_errors, fresh_folder
from verifier.runs.journal import recorded, write_record
from verifier.runs.processes import Setting, listening
from verifier.runs.scores import choose_score
from verifier.runs.seed_run import kept_artifact, run_beside
from verifier.runs.visibility import Mounts, training_data, validation_inside
from verifier.sandbox.scratch import remove_tree
from verifier.schemas.run_record_json import Independence, Mutation, SeedMeasurement
from verifier.track_data import HEADER_BYTES

NUM_CORRUPTED = 64
"""Stretches of the artifact that are inverted, evenly spread."""
CORRUPTED_BYTES = 16


def mutate(setting: Setting, measurements: Sequence[SeedMeasurement]) -> tuple[Mutation, ...]:
    """Replay evaluation of the first completed seed; nothing where the phases are not divided.

    Raises:
        SandboxUnavailableError: the sandbox could not start.
        RunDirectoryError: the disk refuses.
    """
    plan, journal = setting.prepared.plan.evaluation, setting.harness.journal
    completed = [m for m in measurements if m.outcome == "completed" and m.val_bpb is not None]
    if plan is None or not completed:
        return ()
    own = kept_artifact(journal.seed_folder(completed[0].seed), plan)
    with fresh_folder(journal.folder / "corrupted") as folder:
        corrupted = {name: corrupt(path, folder / name) for name, path in own.items()}
        first = _replay(setting, completed[0], "corrupted", corrupted)
    if first.mutated_bpb is not None or len(completed) < 2:
        return (first,)
    other = kept_artifact(journal.seed_folder(completed[1].seed), plan)
    return (first, _replay(setting, completed[0], "other_seed", other))


def corrupt(source: Path, target: Path) -> Path:
    """A copy of the same size in which stretches all over the file are inverted."""
    content = bytearray(source.read_bytes())
    stride = max(len(content) // NUM_CORRUPTED, 1)
    for begin in range(stride // 2, len(content), stride):
        stretch = content[begin : begin + CORRUPTED_BYTES]
        content[begin : begin + CORRUPTED_BYTES] = bytes(byte ^ 0xFF for byte in stretch)
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return target


def check_independence(setting: Setting, seed: SeedMeasurement) -> Independence | None:
    """Train a seed again beside validation data in reverse and compare printed losses and artifact.

    None where the plan does not ask for it, or the seed did not complete.
    """
    journal, plan = setting.harness.journal, setting.prepared.plan
    if not plan.independence or plan.evaluation is not None or seed.outcome != "completed":
        return None
    folder = journal.folder / "independence"
    if (done := recorded(folder / "independence.json", Independence)) is not None:
        return done
    _begin(folder)
    setting.harness.observer.run_started(f"seed {seed.seed} beside other validation data")
    with fresh_folder(folder / "data") as data:
        again = run_beside(seed.seed, folder, setting, _other_validation(setting, data))
    log = (journal.seed_folder(seed.seed) / "stdout.log").read_text("utf-8", "replace")
    result = compare_losses(
        seed.seed, read_training_log(log).train_points, again.training.train_points
    )
    if again.artifact is not None and seed.artifact_sha256 is not None:
        is_same = again.artifact.sha256 == seed.artifact_sha256
        result = result.model_copy(update={"is_same_artifact": is_same})
    write_record(folder / "independence.json", result)
    return result


def compare_losses(
    seed: int, first: Sequence[TrainPoint], second: Sequence[TrainPoint]
) -> Independence:
    """Where two runs' losses at common steps part, and by how much at most."""
    losses = {point.step: point.train_loss for point in second}
    gaps = [(p.step, abs(p.train_loss - losses[p.step])) for p in first if p.step in losses]
    return Independence(
        seed=seed,
        num_losses=len(gaps),
        first_step=next((step for step, gap in gaps if gap > 0), None),
        largest_gap_nats=max((gap for _, gap in gaps), default=0.0),
    )


def _replay(
    setting: Setting,
    seed: SeedMeasurement,
    kind: Literal["corrupted", "other_seed"],
    artifact: Mapping[str, Path],
) -> Mutation:
    plan, folder = setting.prepared.plan.evaluation, setting.harness.journal.folder / f"with_{kind}"
    assert plan is not None and seed.val_bpb is not None
    if (done := recorded(folder / "mutation.json", Mutation)) is not None:
        return done
    _begin(folder)
    which = "a corrupted artifact" if kind == "corrupted" else "another seed's artifact"
    setting.harness.observer.run_started(f"seed {seed.seed} evaluated on {which}")
    request = EvaluationRequest(
        seed=seed.seed, plan=plan, artifact=artifact, workdir=folder / "evaluation"
    )
    with listening(folder, setting) as listener:
        evaluation = evaluate(request, setting, listener)
    final, result = evaluation.stage.log.headline, evaluation.stage.result
    bpb = choose_score(evaluation.token_losses, final, setting.text).bpb
    mutation = Mutation(
        seed=seed.seed,
        val_bpb=seed.val_bpb,
        kind=kind,
        mutated_bpb=bpb if result.ended_well else None,
        detail=result.detail,
    )
    write_record(folder / "mutation.json", mutation)
    return mutation


def _begin(folder: Path) -> None:
    with disk_errors(folder):
        remove_tree(folder)
        folder.mkdir()


def _other_validation(setting: Setting, folder: Path) -> Mounts:
    """The training data, and each validation shard's name on a copy with its tokens reversed."""
    import numpy as np  # 0.1 s that no other run needs

    mounts = training_data(setting.prepared.data)
    for shard, inside in validation_inside(setting.prepared.data).items():
        content = shard.read_bytes()
        tokens = np.frombuffer(content, dtype="<u2", offset=HEADER_BYTES)
        copy = folder / shard.name
        with disk_errors(copy):
            copy.write_bytes(content[:HEADER_BYTES] + tokens[::-1].tobytes())
        mounts[copy.resolve()] = inside
    return mounts
