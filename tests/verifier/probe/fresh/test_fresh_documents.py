"""Documents as tokens, with the bytes of the text that they were."""

import json
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece import SentencePieceTrainer

from verifier.errors import DataError, UsageError
from verifier.probe.fresh.documents import (
    Speller,
    read_documents,
    shared_out,
    source_sha256,
    split,
)
from verifier.probe.fresh.transforms import OPERATORS
from verifier.probe.scoring import write_shard

TEXTS = [f"The Quick BROWN fox No. {n} of NASA's iPhone jumps over É." for n in range(30)]


@pytest.fixture
def speller(tmp_path):
    """With the operators of CaseOps as pieces of their own."""
    model = BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=model, vocab_size=320, model_type="bpe",
        byte_fallback=True, add_dummy_prefix=False, hard_vocab_limit=False, minloglevel=2,
        user_defined_symbols=",".join(OPERATORS),
    )  # fmt: skip
    (tmp_path / "ops.model").write_bytes(model.getvalue())
    return Speller(tmp_path / "ops.model")


@given(st.lists(st.integers(0, 9), min_size=1, max_size=50), st.integers(0, 500))
def test_bytes_are_shared_out_without_rest_and_as_the_weights_where_these_fit(weights, num_bytes):
    weights[0] += 1
    sizes = shared_out(num_bytes, np.array(weights))
    assert sizes.sum() == num_bytes
    assert (shared_out(sum(weights), np.array(weights)) == weights).all()


def test_operators_stand_for_no_bytes_and_the_rest_for_those_of_the_text(speller):
    raw = speller.from_texts(TEXTS, 1)
    told = speller.measured(split(np.concatenate([d.tokens for d in raw]), 1))
    assert [d.text for d in told] == TEXTS
    assert [d.num_bytes for d in told] == [len(text.encode()) for text in TEXTS]
    assert not told[0].sizes[told[0].tokens < 8].any()  # control tokens and operators
    assert told[0].cut().num_bytes == told[0].num_bytes


def test_a_sidecar_is_read_by_documents_and_is_no_shard_of_tokens(speller, tmp_path):
    tokens, sidecar = np.array([1, 9, 9, 1, 9]), np.array([0, 2, 3, 0, 7])
    documents = split(tokens, 1, sidecar.astype(np.uint16))
    assert [d.sidecar_bytes for d in documents] == [5, 7]
    for name, content in (("val_000000", tokens), ("val_bytes_000000", sidecar)):
        write_shard(tmp_path / f"fineweb_{name}.bin", content)
    assert [len(d) for d in read_documents(tmp_path, speller, 1)] == [3, 2]


def test_documents_that_are_none_are_refused(speller, tmp_path):
    (tmp_path / "some.txt").write_text(json.dumps({"text": "a"}))
    for path in (tmp_path / "some.txt", tmp_path / "missing.jsonl", tmp_path):
        with pytest.raises(UsageError, match="give shards"):
            read_documents(path, speller, 1)


def test_documents_that_were_added_are_another_source(tmp_path):
    seen = set()
    for number in range(3):
        write_shard(tmp_path / f"fineweb_val_{number:06}.bin", np.array([1, 9, number]))
        seen.add(source_sha256(tmp_path))
    assert len(seen) == 3 and source_sha256(tmp_path) in seen


@pytest.mark.parametrize(
    "line", ["", "[]", '"text"', '{"text": 1}', '{"text": "half \\ud800"}', "[" * 99_999]
)
def test_a_line_that_is_no_document_is_named(speller, tmp_path, line):
    path = tmp_path / "some.jsonl"
    path.write_text(f'{{"text": "a"}}\n{line}\n')
    with pytest.raises(DataError, match="some.jsonl:2: want an object"):
        read_documents(path, speller, 1)
