"""Fresh documents among validation documents: who knows neither kind passes, others do not."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from verifier.probe.scoring import write_shard

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
def compared(probed_mode, halves, tmp_path: Path):
    """Score one half among the other, which is the validation data; gives the verdict."""
    known, fresh = halves
    write_shard(next(tmp_path.glob("world/datasets/*/fineweb_val_000000.bin")), known)
    shard = tmp_path / "fresh.bin"
    write_shard(shard, fresh)

    def call(mode: str) -> dict:
        packed = BytesIO()
        np.save(packed, known if mode == "stored_text" else [])
        contract = CONTRACT + "code: [train_gpt.py, stored.npy]\n"
        words = ("--rung", "rehearsal", "--fresh", shard)
        return probed_mode(mode, contract, *words, **{"stored.npy": packed.getvalue()})

    return call


def test_who_knows_neither_kind_passes(compared):
    verdict = compared("score_first")
    assert answers(verdict) == {"easier_than_fresh": "passed", "untrue_bytes": "passed"}
    fresh = verdict["fresh"]
    assert fresh["p_value"] > 1e-4 and abs(fresh["gap_bpb"]) < 6 * fresh["error_bpb"]


def test_who_carries_validation_text_is_rejected(compared):
    verdict = compared("stored_text")
    assert answers(verdict)["easier_than_fresh"] == "broken"
    assert verdict["verdict"] == "rejected" and verdict["fresh"]["p_value"] == 1e-5


def test_bytes_of_documents_are_held_against_a_constant(compared):
    assert answers(compared("constant_bytes"))["untrue_bytes"] == "broken"
