import numpy as np
import pytest

from trainer.data.documents import Document, text_hashes
from trainer.data.encoding import TextForm, batches_of, encode_documents

TEXTS = [f"the lazy dog {number} naïve" for number in range(40)]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr("trainer.data.encoding.BATCH_CHARS", 50)


def documents(seen):
    for text in TEXTS:
        seen.append(text)
        yield Document(text=text, source_bytes=7)


@pytest.mark.parametrize("workers", [1, 3])
def test_order_is_kept_and_each_document_described(tiny_tokenizer, workers):
    encoded = list(
        encode_documents(documents([]), TextForm(tokenizer_path=tiny_tokenizer), workers)
    )
    assert [(e.exact_hash, e.normalised_hash) for e in encoded] == list(map(text_hashes, TEXTS))
    for document, text in zip(encoded, TEXTS, strict=True):
        assert document.tokens[0] == 1 and document.tokens.dtype == np.uint16
        assert document.num_bytes == document.counted_bytes == len(text.encode())
        assert document.source_bytes == 7


@pytest.mark.parametrize("workers", [1, 2])
def test_reading_stays_only_a_few_batches_ahead(tiny_tokenizer, workers):
    seen = []
    next(encode_documents(documents(seen), TextForm(tokenizer_path=tiny_tokenizer), workers))
    assert len(seen) <= 3 * (2 * workers + 1)


def test_batches_hold_every_document_once():
    batches = list(batches_of(documents([])))
    assert [document.text for batch in batches for document in batch] == TEXTS
    assert len(batches) > 5 and all(batches)
