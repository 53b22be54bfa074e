"""A tape in, its losses out: evaluation of a trained artifact, or a whole run where that is all."""

import struct
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from verifier.probe.assessment import Scored
from verifier.probe.variants import Sample, Tokens, Variant
from verifier.runs.cold_start import EvaluationRequest, evaluate
from verifier.runs.delivery import disk_errors, fresh_folder
from verifier.runs.journal import SeedFiles
from verifier.runs.measure import Stage
from verifier.runs.processes import Listener, Setting
from verifier.runs.scores import KEPT_LOSSES
from verifier.runs.seed_run import kept_artifact, run_beside
from verifier.runs.visibility import training_data, validation_inside
from verifier.sandbox.scratch import remove_tree
from verifier.schemas.run_record_json import DataFile
from verifier.track_data import HEADER_BYTES, SHARD_MAGIC, SHARD_VERSION, TrackData


@dataclass(frozen=True, kw_only=True, slots=True)
class Scorer:
    """Scores tapes with what one finished seed of a run left behind."""

    setting: Setting
    seed: int
    sample: Sample

    @property
    def how(self) -> str:
        """What is run for every tape."""
        divided = self.setting.prepared.plan.evaluation is not None
        return "evaluation of one artifact" if divided else "training and evaluation, one seed"

    def score(self, variant: Variant) -> Scored:
        """Run on the variant as the only validation data.

        Raises:
            SandboxUnavailableError: the sandbox could not start.
            RunDirectoryError: the disk refuses.
            KeyboardInterrupt: the running process was killed.
        """
        journal = self.setting.harness.journal
        folder = journal.folder / "probe" / variant.name
        with disk_errors(folder):
            remove_tree(folder)
            folder.mkdir(parents=True)
        with fresh_folder(journal.folder / "tape") as place:
            with disk_errors(place):
                data = self._write(variant, place)
            stages = self._run(folder, data)
        last = stages[-1].result
        ended_well = last.ending == "exited" and last.exit_code == 0
        kept = folder / KEPT_LOSSES
        said = "" if ended_well else f": {stages[-1].last_words[:200]}"
        return Scored(
            losses=np.fromfile(kept, dtype="<f4") if ended_well and kept.exists() else None,
            detail=f"{last.detail}{said}",
            wall_seconds=sum(stage.result.wall_seconds for stage in stages),
        )

    def _run(self, folder: Path, data: TrackData) -> tuple[Stage, ...]:
        setting = replace(self.setting, prepared=replace(self.setting.prepared, data=data))
        plan, real = setting.prepared.plan.evaluation, self.setting.prepared.data
        if plan is None:
            mounts = training_data(real) | validation_inside(data)
            return run_beside(self.seed, folder, setting, mounts).stages
        artifact = kept_artifact(setting.harness.journal.seed_folder(self.seed), plan)
        files = SeedFiles(folder)
        try:
            listener = Listener(files, setting.harness.observer)
            request = EvaluationRequest(
                seed=self.seed, plan=plan, artifact=artifact, workdir=folder / "evaluation"
            )
            return (evaluate(request, setting, listener).stage,)
        finally:
            files.close()

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
        if lengths := validation_tokens(real, "val_bytes"):
            lengths_here = np.concatenate(lengths)[self.sample.begin :][variant.places]
            shards["fineweb_val_bytes_000000.bin"] = lengths_here
        for name, tokens in shards.items():
            _write_shard(dataset / name, tokens)
        return TrackData(
            folder=folder,
            dataset=dataset,
            tokenizer=tokenizer,
            files=tuple(_described(dataset / name, folder, len(t)) for name, t in shards.items()),
        )


def validation_tokens(data: TrackData, split: str = "val") -> list[Tokens]:
    """The content of each validation shard, or of each shard of their tokens' lengths."""
    shards = [data.folder / file.path for file in data.files]
    named = [s for s in shards if s.stem.removeprefix("fineweb_").rpartition("_")[0] == split]
    return [np.fromfile(shard, dtype="<u2", offset=HEADER_BYTES) for shard in named]


def _write_shard(path: Path, tokens: Tokens) -> None:
    header = struct.pack("<3i", SHARD_MAGIC, SHARD_VERSION, len(tokens)).ljust(HEADER_BYTES, b"\0")
    path.write_bytes(header + tokens.astype("<u2").tobytes())


def _described(path: Path, folder: Path, num_tokens: int) -> DataFile:
    return DataFile(
        path=path.relative_to(folder).as_posix(),
        num_bytes=path.stat().st_size,
        sha256=None,
        num_tokens=num_tokens,
    )
