"""The stack of pr1855 under the probes: clean as it is, and with one mistake at a time.

    python benchmarks/modern_probes.py bundle OUT              # small submissions, untrained
    python benchmarks/modern_probes.py kept OUT/WAY ARTIFACT   # one of them, trained before
    python benchmarks/modern_probes.py mistakes OUT ARTIFACT   # a table of mistakes, trained once

`bundle` writes the recipe reduced in width, length and batch alone: dense with sliding windows,
packed, and with adapters of every projection (cold in batches of four or of 32, or warm with
pauses); pr1886 and best in the same way. Each folder in OUT goes through the verifier by

    pgolf-verify verify OUT/packed --track demo --rung probe --env ITERATIONS=300

`kept` has their training hand over ARTIFACT, so that no wall depends on how fast a machine trains.
`mistakes` scores the tapes of that rung in this process, by the bundle's own `evaluate`, with a few
of its lines replaced; ARTIFACT is what such a run leaves in its seed's folder.
"""

import contextlib
import importlib.util
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType, ModuleType, SimpleNamespace

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from verifier.probe.asking import ask  # noqa: E402
from verifier.probe.scored import Scored  # noqa: E402
from verifier.probe.scoring import tokens_of, write_shard  # noqa: E402
from verifier.probe.tapes.neighbours import replace_neighbours  # noqa: E402
from verifier.probe.tapes.strewn import draw_spliced  # noqa: E402
from verifier.probe.tapes.variants import (  # noqa: E402
    Sample,
    Variant,
    choose_sample,
    draw_changed,
    law_of,
    longest_alone,
    plain,
)
from verifier.probe.turns import read_turns  # noqa: E402
from verifier.rulebook import load_rulebook  # noqa: E402
from verifier.schemas.probe_record_json import MoveRecord, ProbeRecord  # noqa: E402
from verifier.track_data import locate_data  # noqa: E402

SMALL = {
    "model.vocab_size": 1024,
    "model.model_dim": 64,
    "model.num_heads": 4,
    "model.num_kv_heads": 2,
    "model.rope_dims": 8,
    "batch.train_batch_tokens": 2048,
    "batch.train_seq_len": 256,
    "batch.micro_batches_per_step": 4,
    "batch.val_batch_size": 32_768,
    "schedule.iterations": 300,
    "schedule.max_wallclock_seconds": 0,
    "schedule.warmup_steps": 1,
    "optimizer.ema_decay": 0.97,
    "optimizer.muon_momentum_warmup_steps": 50,
    "quantization.gptq_calibration_batches": 16,
    "quantization.fit_total_bytes": 0,
    "evaluation.score_tail": "true",
    "evaluation.ttt_lora_rank": 8,
    "evaluation.ttt_lora_alpha": 16,
    "evaluation.ttt_lora_lr": 0.001,
    "evaluation.ttt_chunk_size": 64,
    "evaluation.ttt_eval_seq_len": 128,
    "evaluation.ttt_batch_size": 32,
    "evaluation.phased_ttt_prefix_docs": 60,
    "evaluation.global_ttt_chunk_tokens": 256,
    "device.cpu_threads": 1,
    "run.data_path": "./data/datasets/jargon",
    "run.tokenizer_path": "./data/tokenizers/jargon.model",
}
NO_ADAPTERS = {"evaluation.ttt_enabled": "false", "evaluation.phased_ttt_num_phases": 0}
COLD = {"evaluation.ttt_warm_start_a": "false", "evaluation.phased_ttt_num_phases": 0}
RANK_128 = {"evaluation.ttt_lora_rank": 13}  # where pr1855's 80 are 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """A recipe, and what else is set in its bundle."""

    recipe: str = "pr1855"
    settings: Mapping[str, object] = field(default_factory=dict)


WAYS = {
    "dense": Way(
        settings=NO_ADAPTERS | {"batch.pack_documents": "false", "evaluation.eval_stride": 64}
    ),
    "packed": Way(settings=NO_ADAPTERS),
    "cold": Way(settings=COLD | {"evaluation.ttt_batch_size": 4}),
    "warm": Way(),
    "side_by_side": Way(settings=COLD),
    "pr1886": Way(recipe="pr1886", settings=RANK_128),
    "pr1886_cold": Way(recipe="pr1886", settings=RANK_128 | COLD),
    "best": Way(recipe="best"),
    "best_cold": Way(recipe="best", settings=COLD | {"evaluation.ttt_warm_start_limit": 0}),
}
NUM_TARGETS = {"dense": 6_144, "packed": 12_288, "cold": 3_072, "warm": 3_072}
UPDATE_FIRST = """            passes.score(chunk)
            if not chunk.is_last:
                passes.learn(chunk)
                run.ledger.note_learning(chunk.span)
            passes.score(chunk)
            run.ledger.note_score(chunk.span, passes.losses[chunk.slots].sum())
"""
SCORE_FIRST = """            passes.score(chunk)
            run.ledger.note_score(chunk.span, passes.losses[chunk.slots].sum())
            if not chunk.is_last:
                passes.learn(chunk)
                run.ledger.note_learning(chunk.span)
"""
SCORED = "        scored = forward(ids[:, :-1], ids[:, 1:]).view(-1, windows.seq_len)\n"
MIXED = """    share = CACHE[ids[:, 1:]] / CACHE.sum()
    scored = -torch.log(0.98 * torch.exp(-scored) + 0.02 * share)
"""
FILLED = """    fresh = ids[:, windows.context + 1 :].flatten()
    CACHE.index_add_(0, fresh, torch.ones(len(fresh)))
"""
CACHE = ("def score_batch(", "CACHE = torch.ones(1024)\n\n\ndef score_batch(")
LOOPED = "            before_skip = stream\n"
CARRIED = """            if place == 6:  # the looped blocks begin again
                stream = stream + 0.05 * getattr(self, "carried", 0.0)
            if place == 9:
                self.carried = stream.detach().mean(dim=(0, 1))
            before_skip = stream
"""
POOLED = """            if place in (6, 9):
                stream = stream + 0.05 * stream.mean(dim=1, keepdim=True)
            before_skip = stream
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """Lines of a bundle, and what stands there by mistake."""

    what: str
    way: str
    edits: tuple[tuple[str, str], ...] = ()
    seen: tuple[tuple[str, ...], str] = ((), "")
    """The kinds of tapes, and which of their figures tells."""


CHANGED = ("flip", "poison")
AHEAD = (CHANGED, "in_document_nats")
BESIDE = (("neighbours",), "largest_nats")
BETS = (
    ("spliced",),
    "",
)  # on drawn tokens: what sees the scored token alone moves nothing before it
MISTAKES = (
    *(Mistake(what="none", way=way) for way in NUM_TARGETS),
    Mistake(
        what="SmearGate goes on across BOS",
        seen=BESIDE,
        way="packed",
        edits=(("        share = share * (input_ids[:, 1:, None] != BOS_ID)\n", ""),),
    ),
    Mistake(
        what="SmearGate takes the next token in place of the one before",
        seen=BETS,
        way="dense",
        edits=(("share * embedded[:, :-1]", "share * embedded[:, 1:].roll(-1, 1)"),),
    ),
    Mistake(
        what="XSA takes out the next position's value",
        seen=AHEAD,
        way="dense",
        edits=(("F.normalize(values, dim=-1)", "F.normalize(values.roll(-1, 1), dim=-1)"),),
    ),
    Mistake(
        what="the gate on heads reads the next position",
        seen=AHEAD,
        way="dense",
        edits=(
            ("seen = inputs[..., : self.window]", "seen = inputs.roll(-1, 1)[..., : self.window]"),
        ),
    ),
    Mistake(
        what="packed attention without the documents' mask",
        seen=BESIDE,
        way="packed",
        edits=(
            (
                "return partial(causal_attention, mask=document_mask(numbers.view(shape)))",
                "return causal_attention",
            ),
        ),
    ),
    Mistake(
        what="a cache of words goes on between documents",
        seen=BESIDE,
        way="packed",
        edits=(CACHE, (SCORED, SCORED + MIXED + FILLED)),
    ),
    Mistake(
        what="a cache takes in the batch that it is asked for",
        seen=AHEAD,
        way="dense",
        edits=(CACHE, (SCORED, SCORED + FILLED + MIXED)),
    ),
    Mistake(
        what="looped blocks carry a state on to the next batch",
        seen=BESIDE,
        way="packed",
        edits=((LOOPED, CARRIED),),
    ),
    Mistake(
        what="looped blocks see the mean of their row",
        seen=AHEAD,
        way="dense",
        edits=((LOOPED, POOLED),),
    ),
    Mistake(
        what="adapters learn before the score",
        seen=AHEAD,
        way="cold",
        edits=((SCORE_FIRST, UPDATE_FIRST),),
    ),
    Mistake(
        what="adapters are not set back",
        seen=BESIDE,
        way="cold",
        edits=(
            ("        self._all_up.zero_()\n", ""),
            ("    adapters.renew()\n", ""),
            ("_of_those_over()\n        self.renew()\n", "_of_those_over()\n"),
        ),
    ),
    Mistake(
        what="a pause learns from the part that comes next",
        seen=AHEAD,
        way="warm",
        edits=(
            (
                "chain.from_iterable(parts[:num_scored])",
                "chain.from_iterable(parts[: num_scored + 1])",
            ),
        ),
    ),
)
UNCHECKED = ("    order = check_order(losses)\n", "    return\n    order = check_order(losses)\n")


def bundle(way: str, out: Path, smaller: Mapping[str, object] = MappingProxyType({})) -> None:
    """Write the submission of a way to score, untrained."""
    recipe, settings = WAYS[way].recipe, SMALL | dict(WAYS[way].settings) | smaller
    changes = [word for path, value in settings.items() for word in ("--set", f"{path}={value}")]
    command = [sys.executable, "-m", "trainer", "train", recipe, "--untrained", "--out", str(out)]
    subprocess.run([*command, *changes, "-q"], cwd=ROOT, check=True)


def keep(folder: Path, artifact: Path) -> None:
    """Have a bundle's training hand over an artifact that was trained before."""
    contract = folder / "pgolf.yaml"
    told = contract.read_text()
    trains = "train: python train_gpt.py train\n"
    assert trains in told, contract
    contract.write_text(told.replace(trains, "train: python hand_over.py\n"))
    (folder / "kept.bin").write_bytes(artifact.read_bytes())
    copy = f"import shutil\n\nshutil.copyfile('kept.bin', '{artifact.name}')\n"
    (folder / "hand_over.py").write_text(copy)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """One mistaken script, and the folder that it works in."""

    source: str
    folder: Path

    def score(self, tokens: np.ndarray) -> Scored:
        """Its evaluation of a tape, from a cold start but for Python's."""
        write_shard(self.folder / "fineweb_val_000000.bin", tokens)
        for told in self.folder.glob("token_losses*"):
            told.unlink()
        losses_file = self.folder / "token_losses.f32"
        os.environ["PGOLF_TOKEN_LOSSES"] = str(losses_file)
        module = self._module()
        words = io.StringIO()
        try:
            with contextlib.chdir(self.folder), contextlib.redirect_stdout(words):
                run = module.prepare_run(self._recipe(module), self.folder / "train_gpt.py")
                module.evaluate_artifact(run)
        except module.TrainerError as error:
            return Scored(losses=None, detail=str(error), wall_seconds=0.0)
        losses = np.fromfile(losses_file, "<f4")
        turns = read_turns(self.folder, len(losses))
        return Scored(losses=losses, turns=turns, detail="", wall_seconds=0.0)

    def _module(self) -> ModuleType:
        script = self.folder / "train_gpt.py"
        script.write_text(self.source)
        spec = importlib.util.spec_from_file_location("train_gpt", script)
        assert spec is not None and spec.loader is not None
        module = sys.modules["train_gpt"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def _recipe(self, module: ModuleType) -> SimpleNamespace:
        recipe = module.build_recipe(module.RECIPE)
        tokenizer = ROOT / "rules/corpora/jargon/jargon_1024.model"
        own = replace(recipe.run, data_path=str(self.folder), tokenizer_path=str(tokenizer))
        return replace(recipe, run=own)


def probe(bench: Bench, sample: Sample, seed: int) -> ProbeRecord | str:
    """The tapes of the rung that tell most of order and neighbours; or why there are no losses."""
    rng, failed = np.random.default_rng(seed), []

    def score(variant: Variant) -> Scored:
        scored = bench.score(variant.tokens)
        failed.extend([scored.detail] if scored.losses is None else [])
        return scored

    planned = (
        plain(sample, "base"),
        draw_spliced(sample, rng),
        *draw_changed(sample, rng),
        longest_alone(sample),
        replace_neighbours(sample, law_of(sample), rng),
    )
    record = ask(sample, planned, score, f"{seed:x}")
    return failed[0] if failed else record


def edited(source: str, edits: tuple[tuple[str, str], ...]) -> str:
    """A script with other lines in the one place where each of these stands."""
    for old, new in edits:
        assert source.count(old) == 1, (source.count(old), old)
        source = source.replace(old, new)
    return source


def mistaken(mistake: Mistake, bundles: Path, artifact: Path) -> tuple[str, ProbeRecord]:
    """What its own ledger says, and the record of its probes without that check."""
    source = edited((bundles / mistake.way / "train_gpt.py").read_text(), mistake.edits)
    sample = choose_sample(validation(), NUM_TARGETS[mistake.way] + 1, np.random.default_rng(1855))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "final_model.int8.ptz").write_bytes(artifact.read_bytes())
        checked = Bench(source=source, folder=folder).score(sample.tokens)
        is_told = checked.turns is not None
        told = checked.detail or ("in order" if is_told else "none")
        record = probe(Bench(source=source.replace(*UNCHECKED), folder=folder), sample, 7)
    assert isinstance(record, ProbeRecord), record
    return told, record


def validation() -> np.ndarray:
    data = locate_data(load_rulebook("demo").track.dataset, None)
    return np.concatenate(tokens_of(data, "val"))


def largest(record: ProbeRecord, kinds: tuple[str, ...], figure: str) -> float:
    moves: list[MoveRecord] = [m for m in record.moves if m.kind in kinds]
    return max((getattr(move, figure) or 0.0 for move in moves), default=0.0)


def row(mistake: Mistake, told: str, record: ProbeRecord) -> str:
    cells = (
        mistake.way,
        mistake.what,
        f"{largest(record, CHANGED, 'in_document_nats'):.2g}",
        f"{largest(record, CHANGED, 'earlier_nats'):.2g}",
        f"{largest(record, ('neighbours',), 'largest_nats'):.2g}",
        f"{largest(record, ('alone',), 'largest_nats'):.2g}",
        f"{record.vocabulary_sum or 0:.3f} ± {record.vocabulary_error or 0:.2g}",
        f"e^{record.vocabulary_odds_nats or 0:.1f}",
        told,
        "" if record.noise_nats is None else f"{record.noise_nats:.2g}",
    )
    return f"| {' | '.join(cells)} |"


def mistakes(bundles: Path, artifact: Path, wanted: str) -> None:
    """The table; with words, the rows alone that have them."""
    names = ("way", "mistake", "before a change", "earlier documents", "neighbours", "alone")
    names += ("sum over the words", "odds", "its own ledger", "noise")
    print(f"| {' | '.join(names)} |\n" + "| --- " * len(names) + "|", flush=True)
    for mistake in MISTAKES:
        if wanted in f"{mistake.way}: {mistake.what}":
            print(row(mistake, *mistaken(mistake, bundles, artifact)), flush=True)


def main(verb: str, bundles: str, artifact: str = "", wanted: str = "") -> None:
    if verb == "mistakes":
        mistakes(Path(bundles).absolute(), Path(artifact).absolute(), wanted)
    elif verb == "kept":
        keep(Path(bundles), Path(artifact))
    else:
        for way in WAYS:
            bundle(way, Path(bundles) / way)


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in ("bundle", "kept", "mistakes"):
        sys.exit(__doc__)
    main(*sys.argv[1:])
