"""Evaluation from a cold start: a fresh folder and sandbox with code, artifact, validation data.

Nothing else of training survives: contents of named files are copied, not times, modes or
attributes, and /tmp, /dev/shm and home are new. The files are hashed before and after.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from verifier.runs.delivery import deliver_artifact, deliver_code, fresh_folder
from verifier.runs.launch import TOKEN_LOSSES_FILE
from verifier.runs.left_files import written_files
from verifier.runs.machine.open_watch import OpenWatch
from verifier.runs.machine.packages import folders_below, installed_files, package_folders
from verifier.runs.measure import Stage
from verifier.runs.processes import Listener, Process, Setting, run_process
from verifier.runs.scores import keep_orders, keep_token_losses, read_token_losses
from verifier.runs.visibility import evaluation_data
from verifier.schemas.run_record_json import ColdStart, EvaluationPlan, TokenLosses
from verifier.track_data import TrackData, file_sha256


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What came of an evaluation."""

    stage: Stage
    cold_start: ColdStart
    first_look: float | None
    """Seconds of the seed at which validation data was first opened."""
    token_losses: TokenLosses | None


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationRequest:
    """Which artifact is evaluated for which seed, and in which folder, which must not exist."""

    seed: int
    plan: EvaluationPlan
    artifact: Mapping[str, Path]
    workdir: Path


def evaluate(request: EvaluationRequest, setting: Setting, listener: Listener) -> Evaluation:
    """Run the contract's `evaluate` on an artifact.

    Raises:
        SandboxUnavailableError: the sandbox could not start.
        RunDirectoryError: the disk refuses.
    """
    data, plan = setting.prepared.data, request.plan
    with fresh_folder(request.workdir) as workdir:
        # Code last: as it was handed in, whatever training left under its name.
        given = deliver_artifact(request.artifact, workdir)
        given |= deliver_code(setting.harness.submission, workdir, plan.code)
        before = _hashes(workdir, given)
        process = Process(
            name="evaluation",
            seed=request.seed,
            argv=plan.argv,
            environment=plan.environment,
            workdir=workdir,
            mounts=evaluation_data(data),
        )
        with OpenWatch(_watched_folders(data)) as watch:
            stage = run_process(process, setting, listener)
        after = _hashes(workdir, given)
        written = written_files(workdir, given)
        losses = written.get(TOKEN_LOSSES_FILE)
        token_losses = read_token_losses(losses, setting.text.num_tokens)
        if setting.keeps_losses:
            keep_token_losses(losses, request.workdir.parent, setting.text.num_tokens)
            keep_orders(written, TOKEN_LOSSES_FILE, request.workdir.parent)
    looks = [at for path, at in watch.opened.items() if _is_validation(path, data)]
    first_look = None
    if looks and listener.launched is not None:
        first_look = listener.offset + min(looks) - listener.launched
    return Evaluation(
        stage=stage,
        cold_start=_cold_start(watch, data, before, after),
        first_look=first_look,
        token_losses=token_losses,
    )


def prepare_watch() -> None:
    """Read which packages are installed, in the time that training takes anyway."""
    for root in package_folders():
        folders_below(root)
        installed_files(root)


def _watched_folders(data: TrackData) -> list[Path]:
    installed = [folder for root in package_folders() for folder in folders_below(root)]
    return [data.dataset.resolve(), data.tokenizer.parent.resolve(), *installed]


def _is_validation(path: Path, data: TrackData) -> bool:
    return path.parent == data.dataset.resolve() and "_val_" in path.name


def _hashes(workdir: Path, names: Mapping[str, int]) -> dict[str, str | None]:
    """SHA-256 by name; None for what is no regular file any more."""
    paths = {name: workdir / name for name in names}
    return {
        name: file_sha256(path) if path.is_file() and not path.is_symlink() else None
        for name, path in paths.items()
    }


def _cold_start(
    watch: OpenWatch,
    data: TrackData,
    before: Mapping[str, str | None],
    after: Mapping[str, str | None],
) -> ColdStart:
    root = data.folder.resolve()
    shown = set(evaluation_data(data))
    opened, packages, uncounted = set[str](), set[str](), set[str]()
    for path in watch.opened:
        if path.is_relative_to(root):
            name = path.relative_to(root).as_posix()
            is_shown = path in shown or path.parent in shown
            (opened if is_shown else uncounted).add(name)
            continue
        package = _package(path)
        if package is None:
            uncounted.add(str(path))
        else:
            packages.add(package)
    return ColdStart(
        given=tuple(sorted(before)),
        data=tuple(sorted(opened)),
        packages=tuple(sorted(packages)),
        uncounted=tuple(sorted(uncounted)),
        is_complete=watch.is_complete,
        rewritten=tuple(sorted(name for name in before if before[name] != after[name])),
    )


def _package(path: Path) -> str | None:
    root = next(root for root in package_folders() if path.is_relative_to(root))
    return installed_files(root).package_of(path)
