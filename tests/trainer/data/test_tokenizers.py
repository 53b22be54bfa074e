import pytest
import sentencepiece

from trainer.data.tokenizers import (
    check_reused_tokenizer,
    train_tokenizer,
    training_sentences,
    vocabulary_listing,
)
from trainer.errors import DataError

TEXTS = ["The quick brown fox, 1234 times.\nOver the lazy dog."] * 30


def test_training_is_deterministic_and_follows_the_published_options():
    model_bytes = train_tokenizer(TEXTS, 300)
    assert train_tokenizer(TEXTS, 300) == model_bytes
    model = sentencepiece.SentencePieceProcessor(model_proto=model_bytes)
    assert [model.pad_id(), model.bos_id(), model.eos_id(), model.unk_id()] == [0, 1, 2, 3]
    assert model.encode("12", out_type=str) == ["1", "2"]
    assert model.decode(model.encode("漢 ﬁn")) == "漢 fin"


def test_document_longer_than_a_sentence_is_still_learned_from():
    long_document = "\n".join(["banana bread"] * 1000)
    model = sentencepiece.SentencePieceProcessor(model_proto=train_tokenizer([long_document], 280))
    assert "▁bread" in model.encode("banana bread", out_type=str)


def test_sentences_are_lines_without_nul():
    assert list(training_sentences(["a\0b\n\n c \n", "d"])) == ["a b", "c", "d"]


@pytest.mark.parametrize(
    ("vocab_size", "reason"),
    [(65537, "at most 65536"), (50_000, "too large for this text"), (100, "SentencePiece refuses")],
)
def test_impossible_vocabulary_is_one_line(vocab_size, reason):
    with pytest.raises(DataError, match=reason) as error:
        train_tokenizer(TEXTS, vocab_size)
    assert "\n" not in str(error.value)


def test_vocabulary_listing_is_what_sentencepiece_writes(tmp_path):
    (tmp_path / "docs.txt").write_text("\n".join(training_sentences(TEXTS)))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "docs.txt"), model_prefix=str(tmp_path / "m"), model_type="bpe",
        vocab_size=50, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    assert vocabulary_listing(tmp_path / "m.model") == (tmp_path / "m.vocab").read_text()


def test_reused_tokenizer_must_fit_what_was_asked_for(tiny_tokenizer):
    assert check_reused_tokenizer(tiny_tokenizer, None) == 320
    with pytest.raises(DataError, match="not the 321 of --vocab-size"):
        check_reused_tokenizer(tiny_tokenizer, 321)


def test_reused_tokenizer_must_begin_documents_as_published(tmp_path):
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_prefix=str(tmp_path / "m"), model_type="bpe",
        vocab_size=50, hard_vocab_limit=False, bos_id=5, minloglevel=2,
    )  # fmt: skip
    with pytest.raises(DataError, match="its BOS id is 5; shards need 1"):
        check_reused_tokenizer(tmp_path / "m.model", None)
