"""A small tokenizer trained once, as the challenge trains its own."""

import io

import pytest
import sentencepiece

SENTENCES = ["the quick brown fox jumps over the lazy dog 0123456789", "pack my box with jugs"]


@pytest.fixture(scope="session")
def tiny_tokenizer(tmp_path_factory):
    """Path of a 320-token BPE model with byte fallback."""
    path = tmp_path_factory.mktemp("tokenizer") / "tiny.model"
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20),
        model_writer=model,
        model_type="bpe",
        vocab_size=320,
        character_coverage=0.999,
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="nmt_nfkc",
        add_dummy_prefix=False,
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())
    return path
