"""The written tokenizer is one that SentencePiece loads, and its bytes are the text's."""

import numpy as np
import pytest
from sentencepiece import SentencePieceProcessor

from verifier.errors import UsageError
from verifier.floor.tokenizer_model import BOS, encode_model, make_pieces, target_bytes


def load(vocab_size: int) -> SentencePieceProcessor:
    return SentencePieceProcessor(model_proto=encode_model(make_pieces(vocab_size)))


@pytest.mark.parametrize("vocab_size", [16, 260, 1_024, 8_192])
def test_sentencepiece_loads_every_size_with_the_public_ids(vocab_size):
    processor = load(vocab_size)
    ids = processor.pad_id(), processor.bos_id(), processor.eos_id(), processor.unk_id()
    assert processor.vocab_size() == vocab_size and ids == (0, 1, 2, 3)
    assert len({processor.id_to_piece(i) for i in range(vocab_size)}) == vocab_size
    assert "\u2581" in {processor.id_to_piece(i) for i in range(vocab_size)}


@pytest.mark.parametrize("vocab_size", [300, 1_024])
def test_counted_bytes_are_the_bytes_of_the_decoded_documents(vocab_size):
    pieces, rng = make_pieces(vocab_size), np.random.default_rng(0)
    words = [i for i, piece in enumerate(pieces) if piece.is_word]
    documents = [rng.choice(words, size=50).tolist() for _ in range(20)]
    texts = [load(vocab_size).decode(document).removeprefix(" ") for document in documents]
    tokens = np.array([token for document in documents for token in (BOS, *document)])
    assert target_bytes(pieces, tokens).sum() == sum(len(text.encode()) for text in texts)


def test_pieces_are_of_every_sort_that_byte_counting_stumbles_over():
    pieces = [piece for piece in make_pieces(1_024) if piece.is_word]
    assert any(piece.has_space for piece in pieces) and any(not p.has_space for p in pieces)
    assert any(piece.num_bytes == 0 for piece in pieces)
    assert any(len(piece.text) == 6 and piece.num_bytes == 1 for piece in pieces)
    assert any(piece.num_bytes > len(piece.text) for piece in pieces)


@pytest.mark.parametrize("vocab_size", [0, 15, 70_000])
def test_a_vocabulary_that_cannot_be_is_refused(vocab_size):
    with pytest.raises(UsageError, match="VOCAB_SIZE"):
        make_pieces(vocab_size)
