"""A small tokenizer, trained once."""

import pytest

from trainer.data.tokenizers import train_tokenizer

SENTENCES = ["the quick brown fox jumps over the lazy dog 0123456789", "pack my box with jugs"]


@pytest.fixture(scope="session")
def tiny_tokenizer(tmp_path_factory):
    """Path of a 320-token BPE model with byte fallback."""
    path = tmp_path_factory.mktemp("tokenizer") / "tiny.model"
    path.write_bytes(train_tokenizer(SENTENCES * 20, 320))
    return path
