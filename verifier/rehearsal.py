"""The rehearsal: one short run of one seed, on a CPU or one GPU, to see whether a submission runs.

Only sizes change: the track's small settings go over the run command's own, and large data is cut.
Sandbox, measurements and journal are those of any run; most rules are left to full runs.
"""

import hashlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from verifier.errors import DataError
from verifier.rulebook import Rulebook
from verifier.runs.plan import PlanOptions
from verifier.sandbox.leftovers import owned_name, sweep
from verifier.sandbox.scratch import remove_tree
from verifier.schemas.track_yaml import Rehearsal
from verifier.track_data import count_tokens, cut_shard, file_sha256

CUT_DATA = Path("runs/rehearsal_data")
"""Holds each cut under a name that its content gives: rehearsals side by side leave each other
theirs, and a plan made again is the same plan."""
SPLITS = ("train", "val", "val_bytes")


@dataclass(frozen=True, kw_only=True, slots=True)
class RehearsalInputs:
    """What a run takes, made small."""

    rulebook: Rulebook
    options: PlanOptions


def rehearse(rulebook: Rulebook, options: PlanOptions) -> RehearsalInputs:
    """The rulebook with the rehearsal's wall, the options with its settings, one seed, its data.

    Raises:
        DataError: the track's data is not here, or cannot be cut.
    """
    track = rulebook.track
    small, folder = track.rehearsal, options.data or Path(track.dataset.default_folder)
    wall, environment = small.wall_seconds, small.environment
    if options.rung == "probe":
        wall, environment = small.probe_wall_seconds, environment | small.probe_environment
    data = small_data(folder, small)
    pins = track.dataset.pins if data == folder else ()
    return RehearsalInputs(
        rulebook=replace(
            rulebook,
            track=track.model_copy(
                update={
                    "limits": track.limits.model_copy(update={"hard_wall_seconds": wall}),
                    "dataset": track.dataset.model_copy(update={"pins": pins}),
                    "launch": track.launch.model_copy(update={"num_processes": 1}),
                }
            ),
        ),
        options=replace(
            options,
            num_seeds=options.num_seeds or 1,
            data=data,
            environment=environment | options.environment,
        ),
    )


def small_data(folder: Path, small: Rehearsal) -> Path:
    """The folder itself if nothing in it is too large, else a copy with its shards cut.

    Raises:
        DataError: a shard is malformed, or the copy cannot be written.
    """
    most = {split: _most_tokens(split, small) for split in SPLITS}
    shards = sorted((folder / "datasets").glob("*/fineweb_*.bin"))
    sizes = [(shard, _split(shard), count_tokens(shard)) for shard in shards]
    totals = {split: sum(count for _, s, count in sizes if s == split) for split in SPLITS}
    if all(totals[split] <= most[split] for split in SPLITS):
        return folder
    try:
        return _cut_copy(folder, [(shard, split) for shard, split, _ in sizes], most)
    except OSError as error:
        raise DataError(
            f"{CUT_DATA}: {error.strerror}; rehearse where that can be written"
        ) from error


def _cut_copy(folder: Path, shards: list[tuple[Path, str]], most: dict[str, int]) -> Path:
    """Tokenizers and the first shard of each split, cut; what lies there already is the same."""
    CUT_DATA.mkdir(parents=True, exist_ok=True)
    sweep(CUT_DATA, "cut", remove_tree)
    made = CUT_DATA / owned_name("cut")
    try:
        shutil.copytree(folder / "tokenizers", made / "tokenizers")
        for shard, split in shards:
            target = made / shard.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not list(target.parent.glob(f"fineweb_{split}_0*.bin")):
                cut_shard(shard, target, most[split])
        finished = CUT_DATA / _content_name(made)
        try:
            made.rename(finished)
        except OSError:
            if not finished.is_dir():
                raise
    finally:
        remove_tree(made)
    return finished


def _content_name(folder: Path) -> str:
    """Twelve digits that stand for all names and bytes of a folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)}\0{file_sha256(path)}\0".encode())
    return digest.hexdigest()[:12]


def _split(shard: Path) -> str:
    """`train`, `val`, or `val_bytes` for the lengths that go with the validation tokens."""
    return shard.stem.removeprefix("fineweb_").rpartition("_")[0]


def _most_tokens(split: str, small: Rehearsal) -> int:
    training = split == "train"
    return int((small.training_tokens if training else small.validation_tokens).value)
