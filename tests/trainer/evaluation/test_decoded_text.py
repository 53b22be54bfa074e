import numpy as np
import pytest

from trainer.data.byte_lengths import load_sentencepiece
from trainer.data.token_shards import write_shard
from trainer.evaluation import decoded_text
from trainer.evaluation.decoded_text import decoded_bytes

BOS = 1
TEXTS = ["the quick brown fox", " jumps over", "the lazy dog", "pack", "my box", "é 0123"]


@pytest.mark.parametrize("at_once", [1, 2, 3, 6, 1000])
def test_the_bytes_are_those_of_the_documents(tmp_path, tiny_data, monkeypatch, at_once):
    monkeypatch.setattr(decoded_text, "DOCUMENTS_AT_ONCE", at_once)
    tokenizer = tiny_data / "tokenizers" / "tiny.model"
    pieces = load_sentencepiece(tokenizer)
    tokens = np.array([token for text in TEXTS for token in [BOS, *pieces.encode(text)]])
    write_shard(tmp_path / "fineweb_val_000000.bin", tokens[:20])
    write_shard(tmp_path / "fineweb_val_000001.bin", tokens[20:])
    texts = [pieces.decode(pieces.encode(text)) for text in TEXTS]
    assert decoded_bytes(tmp_path, tokenizer, tokens.size - 1) == sum(
        len(text.encode()) for text in texts
    )


def test_only_what_is_scored_counts(tmp_path, tiny_data):
    tokenizer = tiny_data / "tokenizers" / "tiny.model"
    tokens = np.array([BOS, *load_sentencepiece(tokenizer).encode("the lazy dog the lazy dog")])
    write_shard(tmp_path / "fineweb_val_000000.bin", tokens)
    part = decoded_bytes(tmp_path, tokenizer, 3)
    assert 0 < part < decoded_bytes(tmp_path, tokenizer, tokens.size - 1)
