"""A tape in, its losses out: evaluation of a trained artifact, or a whole run where that is all."""

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from verifier.probe.scored import Scored
from verifier.probe.tapes.variants import Sample, Tokens, Variant
from verifier.probe.turns import read_turns
from verifier.probe.watched.watching import WatchedRun, how_it_ended, run_watched
from verifier.runs.cold_start import EvaluationRequest, evaluate
from verifier.runs.delivery import disk_errors, fresh_folder
from verifier.runs.launch import LOSSES_VARIABLE
from verifier.runs.measure import Stage
from verifier.runs.processes import Setting, listening
from verifier.runs.scores import KEPT_LOSSES
from verifier.runs.seed_run import kept_artifact, run_beside
from verifier.runs.visibility import Mounts, evaluation_data, training_data, validation_inside
from verifier.sandbox.scratch import remove_tree
from verifier.schemas.run_record_json import DataFile
from verifier.track_data import HEADER_BYTES, SHARD_MAGIC, SHARD_VERSION, TrackData, make_as_old

Run = Callable[[Variant, Path, Setting], Scored]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scorer:
    """Scores tapes with what one finished seed of a run left behind."""

    setting: Setting
    seed: int
    sample: Sample

    @property
    def how(self) -> str:
        """What is run for every tape."""
        plan = self.setting.prepared.plan
        if plan.evaluation is not None:
            return "evaluation of one artifact"
        noted = "" if LOSSES_VARIABLE in plan.environment else ", losses noted inside"
        return f"training and evaluation, one seed{noted}"

    def score(self, variant: Variant) -> Scored:
        """Run on the variant as the only validation data.

        Raises:
            SandboxUnavailableError: the sandbox could not start.
            RunDirectoryError: the disk refuses.
            KeyboardInterrupt: the running process was killed.
        """
        plan = self.setting.prepared.plan
        if plan.evaluation is not None:
            return self._in_place(variant, variant.name, self._evaluate)
        writes = LOSSES_VARIABLE in plan.environment
        return self._in_place(variant, variant.name, self._train if writes else self._watch)

    def watch(self, variant: Variant) -> Scored:
        """The same with the instrument in the script's process; raises as score does."""
        return self._in_place(variant, f"{variant.name}_watched", self._watch)

    def _in_place(self, variant: Variant, name: str, run: Run) -> Scored:
        """Make the variant the data, and a folder for what the run leaves."""
        journal = self.setting.harness.journal
        folder = journal.folder / "probe" / name
        with disk_errors(folder):
            remove_tree(folder)
            folder.mkdir(parents=True)
        with fresh_folder(journal.folder / "tape") as place:
            with disk_errors(place):
                data = self._write(variant, place)
            setting = replace(self.setting, prepared=replace(self.setting.prepared, data=data))
            return run(variant, folder, setting)

    def _evaluate(self, variant: Variant, folder: Path, setting: Setting) -> Scored:
        plan = setting.prepared.plan.evaluation
        assert plan is not None
        with listening(folder, setting) as listener:
            request = EvaluationRequest(
                seed=self.seed, plan=plan, artifact=self._artifact, workdir=folder / "evaluation"
            )
            return _as_scored(evaluate(request, setting, listener).stage, folder)

    def _train(self, variant: Variant, folder: Path, setting: Setting) -> Scored:
        run = run_beside(self.seed, folder, setting, self._mounts(setting))
        return _as_scored(run.stages[-1], folder)

    def _watch(self, variant: Variant, folder: Path, setting: Setting) -> Scored:
        watched = WatchedRun(
            seed=self.seed,
            folder=folder,
            mounts=self._mounts(setting),
            artifact=self._artifact,
            tape=variant.tokens,
            training=tokens_of(self.setting.prepared.data, "train"),
        )
        with listening(folder, setting) as listener:
            return run_watched(watched, setting, listener)

    @property
    def _artifact(self) -> dict[str, Path]:
        plan, journal = self.setting.prepared.plan.evaluation, self.setting.harness.journal
        return kept_artifact(journal.seed_folder(self.seed), plan) if plan else {}

    def _mounts(self, setting: Setting) -> Mounts:
        """Evaluation sees the tape alone; who trains as well sees the real training data."""
        data = setting.prepared.data
        if setting.prepared.plan.evaluation is not None:
            return evaluation_data(data)
        return training_data(self.setting.prepared.data) | validation_inside(data)

    def _write(self, variant: Variant, folder: Path) -> TrackData:
        """The data folder of a tape: one validation shard, its lengths where the real one has them.

        The tokenizer is the real one's copy, because a run without walls looks for it here.
        """
        real = self.setting.prepared.data
        dataset = folder / real.dataset.relative_to(real.folder)
        tokenizer = folder / real.tokenizer.relative_to(real.folder)
        dataset.mkdir(parents=True)
        tokenizer.parent.mkdir(parents=True)
        tokenizer.write_bytes(real.tokenizer.read_bytes())
        shards = {"fineweb_val_000000.bin": variant.tokens}
        if lengths := tokens_of(real, "val_bytes"):
            sizes = variant.sizes
            if sizes is None:
                sizes = np.concatenate(lengths)[self.sample.begin :][variant.places]
            shards["fineweb_val_bytes_000000.bin"] = sizes
        for name, tokens in shards.items():
            write_shard(dataset / name, tokens)
        for path in folder.rglob("*"):
            make_as_old(path, next(real.dataset.glob("fineweb_val_*.bin")))
        return TrackData(
            folder=folder,
            dataset=dataset,
            tokenizer=tokenizer,
            files=tuple(_described(dataset / name, folder, len(t)) for name, t in shards.items()),
        )


def _as_scored(stage: Stage, folder: Path) -> Scored:
    """What the script wrote of its losses."""
    kept = folder / KEPT_LOSSES
    losses = np.fromfile(kept, dtype="<f4") if stage.result.ended_well and kept.exists() else None
    return Scored(
        losses=losses,
        turns=None if losses is None else read_turns(folder, len(losses)),
        detail=how_it_ended(stage),
        wall_seconds=stage.result.wall_seconds,
        final=stage.log.headline,
    )


def tokens_of(data: TrackData, split: str, most: int = -1) -> list[Tokens]:
    """The content of each shard of `train`, `val` or `val_bytes`, or its first tokens."""
    shards = [data.folder / file.path for file in data.files]
    named = [s for s in shards if s.stem.removeprefix("fineweb_").rpartition("_")[0] == split]
    return [np.fromfile(shard, "<u2", most, offset=HEADER_BYTES) for shard in named]


def write_shard(path: Path, tokens: Tokens) -> None:
    """Write tokens in the public shard format.

    Raises:
        OSError: the disk refuses.
    """
    header = struct.pack("<3i", SHARD_MAGIC, SHARD_VERSION, len(tokens)).ljust(HEADER_BYTES, b"\0")
    path.write_bytes(header + tokens.astype("<u2").tobytes())


def _described(path: Path, folder: Path, num_tokens: int) -> DataFile:
    return DataFile(
        path=path.relative_to(folder).as_posix(),
        num_bytes=path.stat().st_size,
        sha256=None,
        num_tokens=num_tokens,
    )
