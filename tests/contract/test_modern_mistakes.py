"""Mistakes of the modern stack, one at a time in a bundle with random weights, are seen."""

import numpy as np
import pytest

from benchmarks.modern_probes import (
    BETS,
    CHANGED,
    MISTAKES,
    UNCHECKED,
    Bench,
    bundle,
    edited,
    largest,
    probe,
)
from verifier.probe.tapes.variants import Sample

SMALLER = {
    "model.model_dim": 32,
    "model.rope_dims": 4,
    "batch.train_seq_len": 64,
    "batch.train_batch_tokens": 512,
    "batch.val_batch_size": 1024,
    "evaluation.ttt_lora_lr": 0.01,
    "evaluation.ttt_batch_size": 2,
    "evaluation.ttt_chunk_size": 16,
    "evaluation.ttt_eval_seq_len": 32,
    "evaluation.phased_ttt_prefix_docs": 4,
    "evaluation.global_ttt_chunk_tokens": 64,
    "evaluation.global_ttt_lr": 0.1,
}
RANDOM_WEIGHTS = (
    "        stored = unpack_artifact(Path(ARTIFACT_NAME).read_bytes(), options)\n"
    "        state = restore_calibrated(stored, options)\n"
    "        model.load_state_dict(state)\n",
    "        torch.manual_seed(0)\n"
    "        for parameter in model.parameters():\n"
    "            nn.init.normal_(parameter, std=0.4)\n",
)
ONCE = {"none", "SmearGate goes on across BOS"}  # the other way to score tells no more of them
CASES = [
    pytest.param(m, id=f"{m.way}: {m.what}")
    for m in MISTAKES
    if (m.way == "packed" or m.what not in ONCE) and m.seen != BETS
]


@pytest.fixture(scope="session")
def script(tmp_path_factory):
    """The bundle of each way to score, written when it is first asked for."""
    folder = tmp_path_factory.mktemp("bundles")

    def read(way: str) -> str:
        if not (folder / way).exists():
            bundle(way, folder / way, SMALLER)
        return (folder / way / "train_gpt.py").read_text()

    return read


def a_text() -> Sample:
    rng = np.random.default_rng(3)
    documents = [np.r_[1, rng.integers(4, 900, n)] for n in (90, 40, 170, 60, 30, 110)]
    return Sample(tokens=np.concatenate(documents).astype(np.uint16), begin=0)


@pytest.mark.slow
@pytest.mark.timeout(1_800)  # adapters on every projection, on a busy machine
@pytest.mark.parametrize("mistake", CASES)
def test_each_mistake_is_seen_and_the_stack_without_one_is_clean(mistake, script, tmp_path):
    source = edited(script(mistake.way), (*mistake.edits, RANDOM_WEIGHTS))
    record = probe(Bench(source=source.replace(*UNCHECKED), folder=tmp_path), a_text(), 5)
    if mistake.edits:
        assert largest(record, *mistake.seen) > 0.001
    else:
        assert largest(record, CHANGED, "in_document_nats") == 0
        assert record.noise_nats is None
        assert largest(record, ("neighbours",), "largest_nats") == 0
