"""Calibration and power of the entropy floor, measured.

    python benchmarks/floor_power.py calibration   # honest runs: how often odds of 10, 100, … come
    python benchmarks/floor_power.py power         # the odds against the size of a leak
    python benchmarks/floor_power.py cheats        # the whole rung, sandbox and all, small scripts
    python benchmarks/floor_power.py torch         # the same on a bundle of our trainer, patched

The first two run `tests/verifier/floor/tape_script.py` as a process without a sandbox, as it is
ours; the others go through `pgolf-verify --rung floor`. Each table is printed as Markdown.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from verifier.claims.training_log import read_training_log  # noqa: E402
from verifier.floor.assessment import Allowance, Claimed, assess  # noqa: E402
from verifier.floor.world import WorldSize, draw_world, write_world  # noqa: E402
from verifier.schemas.floor_record_json import FloorRecord  # noqa: E402

SCRIPT = (ROOT / "tests/verifier/floor/tape_script.py").read_text()
HONEST = ("plain", "score_first", "pair_mix:0.05", "online")
CHEATS = (
    *("target_peek:0.01", "target_gate:0.05", "tilted:0.05", "hashed_cache:0.05"),
    *("learned_before:1", "learned_before:100", "learn_first", "two_passes", "best_of_passes"),
    *("dropped_tail:0.15", "stated_part", "doubled_spaces", "named_bytes"),
)
SIZES = {
    "target_peek": (0.0003, 0.001, 0.003, 0.01),
    "target_gate": (0.0003, 0.001, 0.003, 0.01),
    "tilted": (0.01, 0.02, 0.05, 0.1),
    "hashed_cache": (0.001, 0.003, 0.01, 0.03),
    "learned_before": (0.3, 1, 3, 10, 100),
    "dropped_tail": (0.003, 0.01, 0.03, 0.15),
}
NATS_OF_A_MILLION = np.log(1e6)
TOLERANCE_NATS = 1e-4
PATCHES = {
    "plain": (),
    "score_first": (
        ("@torch.inference_mode()\ndef score_tokens", "def score_tokens"),
        ("    for index in range(first, end, windows.batch_size):\n", "    score_batch.optimizer = "
         "torch.optim.SGD(forward.parameters(), lr=0.02)\n"
         "    for index in range(first, end, windows.batch_size):\n"),
        ("    if has_first:\n", "    scored.mean().backward()\n"
         "    score_batch.optimizer.step(), score_batch.optimizer.zero_grad()\n"
         "    scored = scored.detach()\n    if has_first:\n"),
    ),
    "non_causal": (("is_causal=mask is None", "is_causal=False"),),
    "one_epoch": (("        score, losses = score_model(", "        learn_tape(run, 1)\n"
                   "        score, losses = score_model("),),
    "five_epochs": (("        score, losses = score_model(", "        learn_tape(run, 5)\n"
                     "        score, losses = score_model("),),
}  # fmt: skip
LEARN_TAPE = """
def learn_tape(run, num_epochs):
    recipe, seq_len = run.recipe, run.recipe.batch.train_seq_len
    tokens = load_validation_tokens(recipe.run.data_path, seq_len, keep_tail=False)
    optimizer = torch.optim.Adam(run.model.parameters(), lr=0.001)
    for _ in range(num_epochs):
        for start in range(0, tokens.size - 8 * seq_len, 8 * seq_len):
            window = tokens[start : start + 8 * seq_len + 1]
            batch = prepare_batch(window, recipe).on(run.group.device)
            run.model(batch.input_ids, batch.target_ids).mean().backward()
            optimizer.step(), optimizer.zero_grad()


def evaluate_artifact("""


def assess_script(mode: str, size: WorldSize) -> FloorRecord:
    """One run of the small script on a fresh world, outside any sandbox."""
    world = draw_world(size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_world(world, folder)
        (folder / "script.py").write_text(SCRIPT.replace('"plain"', f'"{mode}"', 1))
        environment = os.environ | {
            "DATA_PATH": str(folder / "datasets" / f"fineweb10B_sp{size.vocab_size}"),
            "TOKENIZER_PATH": str(folder / "tokenizers" / f"fineweb_{size.vocab_size}_bpe.model"),
            "PGOLF_TOKEN_LOSSES": "losses.f32",
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "script.py"]
        ran = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=True
        )
        log = read_training_log(ran.stdout)
        claimed = Claimed(
            final=log.headline,
            stated_tokens=log.val_tokens,
            losses=np.fromfile(folder / "losses.f32", dtype="<f4"),
            has_read_tape=True,
        )
    return assess(world, claimed, Allowance(tolerance_nats=TOLERANCE_NATS, known_counts=()))


def calibration(num_runs: int = 200) -> None:
    """Honest runs on small worlds: Markov's inequality allows one in k with odds of k."""
    size = WorldSize(
        source="zipf",
        vocab_size=300,
        document_tokens=300,
        training_tokens=300_000,
        num_targets=15_360,
    )
    records = [assess_script(HONEST[i % len(HONEST)], size) for i in range(num_runs)]
    print("| odds of at least | allowed | total | bets |\n| --- | --- | --- | --- |")
    for k in (2, 5, 10, 100, 1_000):
        shares = [
            sum((getattr(r, name) or 0.0) >= np.log(k) for r in records) / num_runs
            for name in ("total_odds_nats", "betting_odds_nats")
        ]
        print(f"| {k} | {1 / k:.1%} | {shares[0]:.1%} | {shares[1]:.1%} |")
    largest = max(r.betting_odds_nats or 0.0 for r in records)
    print(f"\n{num_runs} runs of {', '.join(HONEST)}; largest odds of the bets e^{largest:.2f}")


def power(num_worlds: int = 5) -> None:
    """Median odds over worlds for each size of a leak, and how many pass a million."""
    print("| leak | size | nats a token | total | bets | caught |\n" + "| --- " * 6 + "|")
    for mode, sizes in SIZES.items():
        for amount in sizes:
            size = WorldSize(
                source="zipf",
                vocab_size=1_024,
                document_tokens=1_000,
                training_tokens=1_000_000,
                num_targets=122_880,
            )
            records = [assess_script(f"{mode}:{amount}", size) for _ in range(num_worlds)]
            gap = median(r.gap_nats or 0.0 for r in records)
            total = median(r.total_odds_nats or 0.0 for r in records)
            bets = [r.betting_odds_nats for r in records if r.betting_odds_nats is not None]
            told = f"e^{median(bets):,.1f}" if bets else "none"
            caught = sum((r.odds_nats or 0.0) >= NATS_OF_A_MILLION for r in records)
            print(
                f"| {mode} | {amount} | {gap:+.4f} | e^{total:,.0f} | {told} | "
                f"{caught} of {num_worlds} |",
                flush=True,
            )


def cheats(parent: Path) -> Iterator[tuple[str, Path]]:
    """The small script in each of its modes, a folder each."""
    for mode in (*HONEST, *CHEATS):
        folder = parent / mode.replace(":", "_")
        folder.mkdir()
        (folder / "train_gpt.py").write_text(SCRIPT.replace('"plain"', f'"{mode}"', 1))
        (folder / "README.md").write_text("# small\n")
        (folder / "pgolf.yaml").write_text("contract: 1\n")  # so that losses are asked for
        yield mode, folder


def bundles(parent: Path) -> Iterator[tuple[str, Path]]:
    """The demo's bundle with a few lines patched, a folder each."""
    bundle = ROOT / "submissions" / "demo"
    for mode, patches in PATCHES.items():
        folder = parent / mode
        folder.mkdir()
        script = (bundle / "train_gpt.py").read_text()
        script = script.replace("\ndef evaluate_artifact(", LEARN_TAPE, 1)
        for old, new in patches:
            assert old in script, old
            script = script.replace(old, new)
        (folder / "train_gpt.py").write_text(script)
        for name in ("README.md", "pgolf.yaml"):
            (folder / name).write_text((bundle / name).read_text())
        yield mode, folder


FOLDERS = {"cheats": cheats, "torch": bundles}


def rung(kind: str) -> None:
    """The verdict of the whole rung on each folder."""
    print("| script | nats a token | total | bets | broken | seconds |\n" + "| --- " * 6 + "|")
    with tempfile.TemporaryDirectory() as name:
        for mode, folder in FOLDERS[kind](Path(name)):
            command = [sys.executable, "-m", "verifier", "verify", str(folder), "--rung", "floor"]
            if kind == "torch":
                command += ["--floor-minutes", "1.5"]
            command += ["--track", "demo", "--format", "json", "-q", "--out", f"{folder}-run"]
            started = time.perf_counter()
            ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            seconds = time.perf_counter() - started
            if not ran.stdout:
                print(f"| {mode} | {ran.stderr.strip()} |")
                continue
            verdict = json.loads(ran.stdout)
            record = FloorRecord.model_validate(verdict["floor"])
            broken = [r["rule"] for r in verdict["rules"] if r["outcome"] == "broken"]
            cells = [
                mode,
                "" if record.gap_nats is None else f"{record.gap_nats:+.4f}",
                "" if record.total_odds_nats is None else f"e^{record.total_odds_nats:,.0f}",
                "" if record.betting_odds_nats is None else f"e^{record.betting_odds_nats:,.1f}",
                ", ".join(b for b in broken if b not in ("missing_file", "too_few_seeds"))
                or record.not_evaluated
                or "none",
                f"{seconds:.0f}",
            ]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    wanted = sys.argv[1] if len(sys.argv) == 2 else ""
    if wanted == "calibration":
        calibration()
    elif wanted == "power":
        power()
    elif wanted in FOLDERS:
        rung(wanted)
    else:
        sys.exit(__doc__)
