"""Puts a cheat on trial: the honest submission with the cheat's files over it, run and judged.

Everything is the real thing but for its size: rules, sandbox, run directory, verdict. The data is
a chain of 32 symbols in which a bigram model learns something, and in which it can be told from
one that learned the answers; on the rung floor, words of as many that the harness draws.
"""

import contextlib
import importlib.util
import os
import random
import shutil
import struct
import sys
from array import array
from pathlib import Path
from types import ModuleType

import yaml
from click.testing import CliRunner
from tiny_track import tiny_track

from verifier.cli import cli
from verifier.commands import ahead
from verifier.rulebook import load_rulebook, rules_folder
from verifier.sandbox.bubblewrap import Bubblewrap
from verifier.schemas.verdict_json import VerdictFile

CHEATS = Path(__file__).with_name("cheats")
HONEST = CHEATS / "control_honest"
NUM_SYMBOLS, NUM_TRAINING, NUM_VALIDATION = 32, 12_000, 1_000
LIMITS = {"artifact_bytes": 6_000}
HURRIED_LIMITS = LIMITS | {
    "train_seconds": 1,
    "train_overrun_seconds": 0.2,
    "hard_wall_seconds": 4,
}
"""For those who try to win time; the others meet no limit of it, however busy the machine."""
GRANTED_START_SECONDS = 0.5
FLOOR = {
    "train_minutes": 0.05,
    "other_seconds": 60,
    "vocab_size": NUM_SYMBOLS,
    "document_tokens": 100,
    "training_tokens": NUM_TRAINING,
    "validation_tokens": 1_024,
    "tolerance_nats": 1e-4,
}
RULES = (
    "missing_file",
    "failed_run",
    "inconsistent_score",
    "oversized_artifact",
    "overlong_training",
    "overlong_evaluation",
    "seed_ignored",
    "artifact_ignored",
    "rewritten_artifact",
    "uncounted_evaluation_file",
    "validation_seen_in_training",
    "hidden_code",
    "network_access",
    "undeclared_subprocess",
    "outside_file_read",
    "external_data",
    "validation_shards_in_training",
)
"""Left out is what asks for logs, for a claim, or for torch."""
FLOOR_RULES = ("failed_run", "below_entropy_floor", "dropped_tokens")
"""Left out is what asks for the bytes of a tokenizer."""
TRACKS = {"rerun": "cheats", "hurried": "cheats_hurried", "floor": "cheats_floor"}
REFUSED = 2
"""The exit code for what cannot be run as it asks to be."""


def open_court(folder: Path) -> None:
    """Write the data, and the rules with a track for it."""
    scored_bytes = write_data(folder / "data")
    rules = folder / "site" / "rules"
    shutil.copytree(rules_folder(), rules, ignore=shutil.ignore_patterns("corpora", "__pycache__"))
    shorten_the_start(rules / "overlong_training.yaml")
    honest, hurried = (cheat_track(scored_bytes, limits) for limits in (LIMITS, HURRIED_LIMITS))
    for track in (honest, hurried | {"id": TRACKS["hurried"]}, floor_track(scored_bytes)):
        (rules / "tracks" / f"{track['id']}.yaml").write_text(yaml.safe_dump(track))


def shorten_the_start(path: Path) -> None:
    """What is granted for start and compilation, in the proportion of the other times."""
    rule = yaml.safe_load(path.read_text())
    rule["parameters"]["start_seconds"] = GRANTED_START_SECONDS
    path.write_text(yaml.safe_dump(rule))


def enter_court(folder: Path) -> None:
    """Make this process see the court's rules, and probe its sandbox at the first trial alone."""
    sys.modules.pop("rules", None)
    sys.path.insert(0, str(folder / "site"))
    probe, held = Bubblewrap.guarantees, []

    def probe_once(sandbox: Bubblewrap, scratch: Path):
        held[:] = held or [probe(sandbox, scratch)]
        return held[0]

    Bubblewrap.guarantees = probe_once
    ahead.probed_ahead = lambda *_: contextlib.nullcontext()


def cheat_track(scored_bytes: int, limits: dict[str, float]) -> dict:
    track, record_track = tiny_track(), load_rulebook("10min_16mb").track
    [family] = track["dataset"]["families"]
    for name, value in limits.items():
        track["limits"][name]["value"] = value
    return track | {
        "id": TRACKS["rerun"],
        "min_seeds": track["min_seeds"] | {"value": 2},
        "dataset": track["dataset"]
        | {"families": [family | {"scored_tokens": NUM_VALIDATION, "scored_bytes": scored_bytes}]},
        "rules": {rule: record_track.rules[rule].value for rule in RULES},
    }


def floor_track(scored_bytes: int) -> dict:
    """The same in small, on words that the harness draws."""
    amounts = {n: {"value": v, "unit": "x", "source": "test"} for n, v in FLOOR.items()}
    return cheat_track(scored_bytes, LIMITS) | {
        "id": TRACKS["floor"],
        "floor": {"source": "zipf", "environment": {}} | amounts,
        "rules": dict.fromkeys(FLOOR_RULES, "reject"),
    }


def write_data(folder: Path) -> int:
    """Shards of one random chain; gives the bytes that the scored symbols stand for."""
    chance = random.Random(1017)
    favourites = [chance.sample(range(NUM_SYMBOLS), 3) for _ in range(NUM_SYMBOLS)]
    text = array("H", [0])
    for _ in range(NUM_TRAINING + NUM_VALIDATION):
        any_symbol = chance.randrange(NUM_SYMBOLS)
        text.append(chance.choice([*favourites[text[-1]] * 2, any_symbol]))
    dataset = folder / "datasets" / "tiny_sp64"
    dataset.mkdir(parents=True)
    validation = text[-NUM_VALIDATION - 1 :]
    _write_shard(dataset / "fineweb_train_000000.bin", text[:NUM_TRAINING])
    _write_shard(dataset / "fineweb_val_000000.bin", validation)
    (folder / "tokenizers").mkdir()
    (folder / "tokenizers" / "tiny_64_bpe.model").write_bytes(b"tokenizer")
    return sum(honest_code().BYTES_A_TOKEN[symbol] for symbol in validation[1:])


def _write_shard(path: Path, symbols: array) -> None:
    header = struct.pack("<3i", 20240520, 1, len(symbols)).ljust(1024, b"\0")
    path.write_bytes(header + symbols.tobytes())


def honest_code() -> ModuleType:
    """The honest submission's module, imported: the one stranger whom we know."""
    spec = importlib.util.spec_from_file_location("honest_bigram", HONEST / "bigram.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def honest_bpb(seed: int, court: Path) -> float:
    """What an honest run of this seed scores."""
    honest = honest_code()
    os.environ["DATA_PATH"] = str(court / "data" / "datasets" / "tiny_sp64")
    *_, counts = honest.train(honest.tokens("train"), seed)
    text = honest.tokens("val")
    return honest.bits_per_byte(honest.score(honest.pack(counts), text), text)


def hand_in(cheat: Path, folder: Path) -> Path:
    """The folder as the cheat's author would send it."""
    shutil.copytree(HONEST, folder)
    shutil.copytree(cheat, folder, dirs_exist_ok=True)
    (folder / "expected.yaml").unlink()
    return folder


def put_on_trial(cheat: str, court: Path, folder: Path, trial: str) -> VerdictFile | str:
    """Run and judge one cheat; a text says why it was refused.

    `folder` is new and stays, with the run directory in it; `trial` is one of TRACKS.
    """
    rung = "floor" if trial == "floor" else "rerun"
    submission, out = hand_in(CHEATS / cheat, folder / "submission"), str(folder / "out")
    words = ["run", str(submission), "--track", TRACKS[trial], "--rung", rung]
    if rung == "rerun":
        words += ["--data", str(court / "data")]
    done = CliRunner().invoke(cli, [*words, "--out", out])
    if done.exit_code == REFUSED:
        return done.stderr
    assert done.exit_code == 0, done.stderr or repr(done.exception)
    # Under a named profile nothing but the verdict is written: no pages, no charts.
    judged = ["judge", out, "--profile", "readme-strict", "--format", "json"]
    return VerdictFile.model_validate_json(CliRunner().invoke(cli, judged).stdout)
