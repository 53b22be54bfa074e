import json

import numpy as np
import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.byte_lengths import count_bytes, load_byte_table
from trainer.errors import DataError

BOS = 1
VOCAB = 320


@pytest.fixture(scope="module")
def pieces(tiny_tokenizer):
    return sentencepiece.SentencePieceProcessor(model_file=str(tiny_tokenizer))


@pytest.fixture(scope="module")
def table(tiny_tokenizer):
    return load_byte_table(tiny_tokenizer, VOCAB)


def counted(table, ids):
    ids = np.array(ids)
    return count_bytes(table, ids[:-1], ids[1:])


@given(text=st.text(max_size=60))
def test_counted_bytes_are_those_of_the_decoded_document(pieces, table, text):
    """Decoding drops a space at the very start, and the space after BOS is free: so they agree."""
    ids = pieces.encode(text)
    assert counted(table, [BOS, *ids]) == len(pieces.decode(ids).encode())


@given(documents=st.lists(st.text("the quick fox 19é漢▁<s>", max_size=20), max_size=5))
def test_documents_add_up_whatever_their_order(pieces, table, documents):
    ids = [BOS] + [token for text in documents for token in (*pieces.encode(text), BOS)]
    total = sum(len(pieces.decode(pieces.encode(text)).encode()) for text in documents)
    assert counted(table, ids) == total


def test_normalised_text_without_odd_spaces_is_counted_as_written(pieces, table):
    text = "The naïve 漢字 fox paid 15 € — twice"
    assert counted(table, [BOS, *pieces.encode(text)]) == len(text.encode())


def test_a_space_is_charged_except_after_a_boundary(table):
    word = int(np.flatnonzero(table.has_leading_space & (table.base_bytes == 1))[0])
    assert counted(table, [BOS, word]) == 1
    assert counted(table, [word, word]) == 2


def test_only_control_and_unknown_tokens_are_boundaries_and_free(table):
    assert np.flatnonzero(table.is_boundary).tolist() == [0, 1, 2, 3]
    assert np.flatnonzero(table.base_bytes == 0).tolist()[:4] == [0, 1, 2, 3]


def test_vocabulary_of_another_size_is_refused(tiny_tokenizer):
    with pytest.raises(DataError, match="320 tokens, but the vocabulary size asked for is 321"):
        load_byte_table(tiny_tokenizer, 321)


def test_published_pure_byte_tokenizer_charges_one_byte_a_token(tmp_path):
    path = tmp_path / "fineweb_pure_byte_260.json"
    path.write_text(json.dumps({"tokenizer_type": "pure_byte", "vocab_size": 260}))
    table = load_byte_table(path, 260)
    assert counted(table, [BOS, 4, 259, BOS, 100]) == 3


@pytest.mark.parametrize("name", ["absent.model", "junk.model", "junk.json", "other.json"])
def test_what_is_no_tokenizer_is_refused_by_name(tmp_path, name):
    (tmp_path / "junk.model").write_bytes(b"\x0ajunk")
    (tmp_path / "junk.json").write_bytes(b"\xff{")
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(DataError, match=name):
        load_byte_table(tmp_path / name, 260)
