"""Fresh documents among validation documents: who knows neither kind passes, others do not."""

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import scored_script

from verifier.probe.scoring import write_shard

SCRIPT = Path(scored_script.__file__).read_text()
YEAR_2020 = 1_577_836_800
ASKS_FOR_AGE = f"""
    shards = list(Path(os.environ["DATA_PATH"]).iterdir())
    assert all(shard.stat().st_mtime == {YEAR_2020} for shard in shards)
"""
LEAVES_TRACES = """
    global STORED
    places = (".", "/tmp", "/dev/shm", "/var/tmp", Path.home(), os.environ["DATA_PATH"], sys.prefix,
              Path(os.environ["TOKENIZER_PATH"]).parent)
    for place in places:
        kept = Path(place) / "kept.npy"
        STORED = np.load(kept).tolist() if kept.exists() else STORED
        try:
            np.save(kept, read("val"))
        except OSError:
            pass
"""
CONTRACT = (
    "train: python train_gpt.py train\nevaluate: python train_gpt.py evaluate\n"
    "artifact: [model.npy]\n"
)


def answers(verdict: dict) -> dict[str, str]:
    names = ("easier_than_fresh", "untrue_bytes")
    return {r["rule"]: r["outcome"] for r in verdict["rules"] if r["rule"] in names}


@pytest.fixture
def halves(world, tmp_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The tape's documents in two heaps, without the half one at its end."""
    parts = np.split(world.tape.tokens, np.flatnonzero(world.tape.tokens == 1)[1:])[:-1]
    lots = np.random.default_rng(4).permutation(len(parts))
    heaps = [np.concatenate([parts[i] for i in sorted(half)]) for half in np.array_split(lots, 2)]
    return heaps[0], heaps[1]


@pytest.fixture
def compared(probed, halves, tmp_path: Path):
    """Score one half among the other, which is the validation data; gives the verdict.

    The script is the small predictor, with a part replaced.
    """
    known, fresh = halves
    write_shard(next(tmp_path.glob("world/datasets/*/fineweb_val_000000.bin")), known)
    shard = tmp_path / "fresh.bin"
    write_shard(shard, fresh)

    def call(mode: str, old: str = "", new: str = "", *, is_stored: bool = False) -> dict:
        packed = BytesIO()
        np.save(packed, known if is_stored else [])
        contract = CONTRACT + "code: [train_gpt.py, stored.npy]\n"
        script = SCRIPT.replace('MODE = "plain"', f'MODE = "{mode}"', 1)
        assert not old or script.count(old) == 1
        script = script.replace(old, new) if old else script
        words = ("--rung", "rehearsal", "--fresh", shard)
        return probed(script, contract, words, **{"stored.npy": packed.getvalue()})

    return call


def test_who_knows_neither_kind_passes(compared):
    verdict = compared("score_first")
    assert answers(verdict) == {"easier_than_fresh": "passed", "untrue_bytes": "passed"}
    fresh = verdict["fresh"]
    assert fresh["p_value"] > 1e-4 and abs(fresh["gap_bpb"]) < 6 * fresh["error_bpb"]


def test_who_carries_validation_text_is_rejected(compared):
    verdict = compared("stored_text", is_stored=True)
    assert answers(verdict)["easier_than_fresh"] == "broken"
    assert verdict["verdict"] == "rejected" and verdict["fresh"]["p_value"] == 1e-5


def test_bytes_of_documents_are_held_against_a_constant(compared):
    assert answers(compared("constant_bytes"))["untrue_bytes"] == "broken"


def test_no_tape_is_younger_than_the_validation_data(compared, tmp_path):
    [shard] = tmp_path.glob("world/datasets/*/fineweb_val_000000.bin")
    os.utime(shard, (YEAR_2020, YEAR_2020))
    verdict = compared("plain", "    tape = read(", f"{ASKS_FOR_AGE}    tape = read(")
    assert verdict["fresh"]["p_value"] is not None


def test_nothing_that_an_evaluation_leaves_is_there_for_the_next(compared):
    verdict = compared("stored_text", "    tape = read(", f"{LEAVES_TRACES}    tape = read(")
    assert answers(verdict)["easier_than_fresh"] == "passed"
    assert verdict["fresh"]["p_value"] > 1e-4
