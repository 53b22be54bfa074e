"""A data folder and a recipe small enough for a run of two seconds."""

import io
import os
import socket

import numpy as np
import pytest
import sentencepiece
import torch

from trainer.data.token_shards import write_shard
from trainer.process_group import ProcessGroup
from trainer.public_names import environment_settings
from trainer.recipe import recipe_settings
from trainer.recipe_checks import build_recipe
from trainer.recipe_file import load_recipe

TINY_SETTINGS = {
    "device.cpu_threads": 1,
    "batch.train_batch_tokens": 128,
    "batch.train_seq_len": 16,
    "batch.micro_batches_per_step": 2,
    "batch.val_batch_size": 128,
    "model.vocab_size": 320,
    "model.num_layers": 2,
    "model.model_dim": 16,
    "model.num_heads": 2,
    "model.num_kv_heads": 1,
    "schedule.iterations": 3,
    "schedule.max_wallclock_seconds": 0,
    "schedule.warmup_steps": 2,
}


torch.set_num_threads(1)  # threads that wait for each other are slow on a busy machine


@pytest.fixture(autouse=True)
def environment_of_runs(monkeypatch):
    for path in environment_settings(os.environ):
        monkeypatch.delenv(path.split(".")[1].upper())
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def alone():
    return ProcessGroup(rank=0, world_size=1, device=torch.device("cpu"))


@pytest.fixture(scope="session")
def unused_port():
    """A port on which processes can meet: bound here, so that nobody else is given it."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.fixture
def tiny_settings():
    return dict(TINY_SETTINGS)


# Sizes of levers at the tiny shape, where a recipe uses them.
TINY_LEVERS = {
    "model.mlp_hidden": 48,
    "model.rope_train_seq_len": 8,
    "model.rope_dims": 4,
    "model.bigram_hash_buckets": 64,
    "evaluation.eval_seq_len": 24,
    "evaluation.eval_stride": 4,
}
TINY_EVERYWHERE = {
    "model.bigram_hash_dim": 8,
    "evaluation.ttt_chunk_size": 8,
    "evaluation.ttt_batch_size": 2,
    "quantization.gptq_calibration_batches": 2,
    "quantization.fit_total_bytes": 0,
}


@pytest.fixture
def tiny_form():
    """A recipe's own levers and blocks at the tiny shape: its name → settings."""

    def settings_of(name):
        own = recipe_settings(load_recipe(name, {}).recipe)
        shape = {path: value for path, value in TINY_SETTINGS.items() if "num_layers" not in path}
        levers = {path: value for path, value in TINY_LEVERS.items() if own[path]}
        return own | TINY_EVERYWHERE | shape | levers

    return settings_of


@pytest.fixture(scope="session")
def tiny_recipe():
    return build_recipe(TINY_SETTINGS)


@pytest.fixture
def tiny_yaml(tmp_path):
    """The same recipe as a file."""
    lines = ["# pgolf-train tiny.yaml", "what: A tiny model.", "track: demo"]
    for section in dict.fromkeys(path.split(".")[0] for path in TINY_SETTINGS):
        lines.append(f"{section}:")
        lines += [
            f"  {path.split('.')[1]}: {value}"
            for path, value in TINY_SETTINGS.items()
            if path.startswith(section + ".")
        ]
    path = tmp_path / "tiny.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    """A data folder: 320 tokens, two training shards, one validation shard."""
    folder = tmp_path_factory.mktemp("data")
    dataset = folder / "datasets" / "tiny"
    dataset.mkdir(parents=True)
    (folder / "tokenizers").mkdir()
    (folder / "tokenizers" / "tiny.model").write_bytes(train_tiny_tokenizer())
    random = np.random.default_rng(0)
    for name, size in (("train_000000", 700), ("train_000001", 500), ("val_000000", 401)):
        tokens = random.zipf(1.5, size) % 300 + 4
        write_shard(dataset / f"fineweb_{name}.bin", tokens)
    return folder


def train_tiny_tokenizer():
    model = io.BytesIO()
    sentences = ["the quick brown fox jumps over the lazy dog 0123456789", "pack my box with jugs"]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences * 20),
        model_writer=model,
        model_type="bpe",
        vocab_size=320,
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return model.getvalue()
