"""Which running rung catches which cheat, and whether an honest script is ever flagged.

    python benchmarks/probe_table.py rungs     # each script through its rung, sandbox and all
    python benchmarks/probe_table.py torch     # the same on a bundle of our trainer, patched
    python benchmarks/probe_table.py lora      # adapters fitted to each document
    python benchmarks/probe_table.py repeats   # honest ways of scoring, 50 draws of each

Scripts are `tests/verifier/probe/scored_script.py` and, where only a world of known entropy tells,
`tests/verifier/floor/tape_script.py`. Each table is printed as Markdown.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/verifier/probe"), str(ROOT / "benchmarks")]

import scored_script  # noqa: E402
from floor_power import bundles  # noqa: E402
from leakage_power import count_pairs  # noqa: E402

from verifier.evidence_checks import future_token_dependence  # noqa: E402
from verifier.probe.asking import ask  # noqa: E402
from verifier.probe.climb import tapes  # noqa: E402
from verifier.probe.scored import Scored  # noqa: E402
from verifier.probe.scoring import tokens_of  # noqa: E402
from verifier.probe.tapes.variants import Variant, choose_sample  # noqa: E402
from verifier.rulebook import load_rulebook  # noqa: E402
from verifier.schemas.probe_record_json import ProbeRecord  # noqa: E402
from verifier.track_data import locate_data  # noqa: E402

PROBED = (ROOT / "tests/verifier/probe/scored_script.py").read_text()
TAPED = (ROOT / "tests/verifier/floor/tape_script.py").read_text()
DIVIDED = (
    "train: python train_gpt.py train\nevaluate: python train_gpt.py evaluate\n"
    "artifact: [model.npy]\n"
)
HONEST = (
    *("plain", "sliding_window", "per_document", "pair_mix", "score_first", "gradient_steps"),
    "byte_level",
)
CHEATS = (
    *("hashed_cache", "unnormalised_cache", "best_of_passes", "two_passes", "train_then_score"),
    *("many_epochs", "learned_chunk", "future_statistics", "next_word", "target_gate"),
    *("reset_omitted", "dropped_tail", "validation_in_training", "stored_text"),
    *("stored_order", "constant_bytes"),
)
BY_FLOOR = ("doubled_spaces", "named_bytes", "dropped_tail:0.15", "target_peek:0.01")
STORING = ("stored_text", "stored_order")
WHOLE = ("validation_in_training",)
PROMISE = "documents: alone\n"
PROMISING = ("per_document", "reset_omitted")
OF_A_SMALL_SCRIPT = {"missing_file", "too_few_seeds"}


def folder_of(parent: Path, mode: str, rung: str) -> Path:
    """A submission of one script."""
    folder = parent / f"{rung}_{mode.replace(':', '_')}"
    folder.mkdir()
    script = (PROBED if rung == "probe" else TAPED).replace('"plain"', f'"{mode}"', 1)
    contract = "contract: 1\n" if rung == "floor" or mode in WHOLE else DIVIDED
    (folder / "train_gpt.py").write_text(script)
    (folder / "README.md").write_text("# small\n")
    if mode in STORING:
        data = locate_data(load_rulebook("demo").track.dataset, None)
        np.save(folder / "stored.npy", np.concatenate(tokens_of(data, "val")))
        contract += "code: [train_gpt.py, stored.npy]\n"
    (folder / "pgolf.yaml").write_text(contract + (PROMISE if mode in PROMISING else ""))
    return folder


def climb(folder: Path, rung: str) -> tuple[dict, float]:
    """The verdict on a folder, and the seconds that it took."""
    command = [sys.executable, "-m", "verifier", "verify", str(folder), "--rung", rung, "-q"]
    command += ["--track", "demo", "--format", "json", "--out", f"{folder}-run"]
    started = time.perf_counter()
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    assert ran.stdout, ran.stderr
    return json.loads(ran.stdout), seconds


def row(mode: str, rung: str, verdict: dict, seconds: float) -> str:
    broken = [r["rule"] for r in verdict["rules"] if r["outcome"] == "broken"]
    told = ", ".join(b for b in broken if b not in OF_A_SMALL_SCRIPT) or "none"
    figure = probe_figure(verdict) if rung == "probe" else floor_figure(verdict)
    return f"| {mode} | {rung} | {figure} | {told} | {seconds:.0f} |"


def probe_figure(verdict: dict) -> str:
    record = ProbeRecord.model_validate(verdict["probe"])
    if record.not_evaluated or record.vocabulary_sum is None:
        return record.not_evaluated or "not scored"
    figure = f"{moved_nats(record):.2g} nats; sum {record.vocabulary_sum:.3f}"
    figure += f" ± {record.vocabulary_error or 0:.2g}; e^{record.vocabulary_odds_nats:,.0f}"
    figure += f"; {record.over_training_nats or 0:+.2f} ± {record.over_training_error or 0:.2f}"
    figure += f"; canaries e^{record.canary_odds_nats or 0:,.0f}; order {record.order_p or 1:.2g}"
    figure += f"; {record.num_evaluations} of {record.planned_evaluations} planned"
    return f"{figure}; {record.deaf_drawn} deaf" if record.deaf_drawn > 9 else figure


def floor_figure(verdict: dict) -> str:
    floor = verdict["floor"]
    odds = [floor[k] for k in ("total_odds_nats", "betting_odds_nats") if floor[k] is not None]
    bytes_ = (floor["implied_bytes_low"] or 0) / (floor["scored_bytes"] or 1)
    return f"odds e^{max(odds):,.0f}; bytes x {bytes_:.3f}"


def moved_nats(record: ProbeRecord) -> float:
    changed = [m for m in record.moves if m.kind in ("flip", "poison")]
    return max(m.in_document_nats or 0.0 for m in changed)


def rungs() -> None:
    """Every script through the rung that is to catch it; honest ones through the probes."""
    plan = [(m, "probe") for m in (*HONEST, *CHEATS)] + [(m, "floor") for m in BY_FLOOR]
    print("| script | rung | seen | broken | seconds |\n" + "| --- " * 5 + "|")
    with tempfile.TemporaryDirectory() as name:
        for mode, rung in plan:
            verdict, seconds = climb(folder_of(Path(name), mode, rung), rung)
            print(row(mode, rung, verdict, seconds), flush=True)


def torch() -> None:
    """A transformer, honest twice and not three times."""
    print("| script | rung | seen | broken | seconds |\n" + "| --- " * 5 + "|")
    with tempfile.TemporaryDirectory() as name:
        for mode, folder in bundles(Path(name)):
            print(row(mode, "probe", *climb(folder, "probe")), flush=True)


def lora() -> None:
    """Our trainer's low-rank adapters, fitted to each document."""
    print("| script | rung | seen | broken | seconds |\n" + "| --- " * 5 + "|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "lora"
        write = [sys.executable, "-m", "trainer", "train", "demo", "--untrained"]
        write += ["--set", "evaluation.ttt_enabled=true", "--out", str(folder)]
        subprocess.run(write, cwd=ROOT, check=True, capture_output=True)
        print(row("lora", "probe", *climb(folder, "probe")), flush=True)


def repeats(num_draws: int = 50) -> None:
    """Honest ways of scoring on the demo's text, other draws each time."""
    rulebook = load_rulebook("demo")
    data = locate_data(rulebook.track.dataset, None)
    text = np.concatenate(tokens_of(data, "val"))
    training = np.concatenate(tokens_of(data, "train"))
    least = rulebook.rules[future_token_dependence.__name__.split(".")[-1]].parameters
    names = ("script", "moves", "largest odds", "sums", "longest deaf", "canaries")
    names += ("least order p", "order p of 0.1 or less")
    print(f"| {' | '.join(names)} |\n" + "| --- " * len(names) + "|")
    for mode in HONEST:
        records = [repeat(mode, training, text, seed) for seed in range(num_draws)]
        moves = sum(moved_nats(r) > least["min_moved_nats"] for r in records)
        sums = [r.vocabulary_sum or 0.0 for r in records]
        print(
            f"| {mode} | {moves} of {num_draws} | "
            f"e^{max(r.vocabulary_odds_nats or 0.0 for r in records):.2f} | "
            f"{np.mean(sums):.3f} ± {np.std(sums, ddof=1):.3f} | "
            f"{max(r.deaf_drawn for r in records)} | "
            f"e^{max(r.canary_odds_nats or 0.0 for r in records):.2f} | "
            f"{min(r.order_p or 1.0 for r in records):.2g} | "
            f"{sum((r.order_p or 1.0) <= 0.1 for r in records)} of {num_draws} |",
            flush=True,
        )


def repeat(mode: str, training: np.ndarray, text: np.ndarray, seed: int) -> ProbeRecord:
    """The record of one draw, scored within this process."""
    pairs = count_pairs(training)
    rng = np.random.default_rng(seed)
    documents = np.split(text, np.flatnonzero(text == text[0])[1:])
    # Draws from one text would share the luck of its one order.
    text = np.concatenate([documents[i] for i in rng.permutation(len(documents))])
    sample = choose_sample(text, 16_385, rng)

    def score(variant: Variant) -> Scored:
        tape = variant.tokens.astype(np.int64)
        way = scored_script.WAYS[mode]
        losses = -np.log(way(scored_script.Model(pairs.copy()), tape[:-1], tape[1:]))
        return Scored(losses=losses.astype(np.float32), detail="exit code 0", wall_seconds=0.0)

    return ask(sample, tapes(sample, training, rng), score, f"{seed:x}")


if __name__ == "__main__":
    tables = {"rungs": rungs, "torch": torch, "lora": lora, "repeats": repeats}
    wanted = sys.argv[1] if len(sys.argv) == 2 else ""
    if wanted not in tables:
        sys.exit(__doc__)
    tables[wanted]()
