"""A data set with case operators, from documents to a score."""

import json

import numpy as np
import pytest

from trainer.data.build import build_dataset
from trainer.data.build_request import BuildRequest
from trainer.data.byte_lengths import load_sentencepiece
from trainer.data.case_operators import OPERATORS, without_operators
from trainer.data.inspect_folder import documents_in, inspect_folder
from trainer.data.manifest import read_manifest
from trainer.data.run_data import DataLocation, check_data
from trainer.data.token_shards import read_token_bytes, shard_paths, write_shard
from trainer.errors import DataError
from trainer.evaluation.bits_per_byte import load_validation_tokens
from trainer.evaluation.decoded_text import decoded_bytes
from trainer.phases.score import scored_bytes
from trainer.recipe_checks import build_recipe

TEXTS = [
    f"The Quick BROWN fox No. {number} of NASA's iPhone jumps over McDonald and I am É."
    for number in range(60)
]


def quiet(*_):
    pass


@pytest.fixture(scope="module")
def request_(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ops")
    source = folder / "docs.jsonl"
    texts = [*TEXTS, TEXTS[3], TEXTS[5].upper()]  # validation holds these two
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return BuildRequest(
        sources=(source,),
        out=folder / "out",
        name="ops",
        val_docs=10,
        vocab_size=330,
        shard_tokens=150,
        case_ops=True,
    )


@pytest.fixture(scope="module")
def dataset(request_):
    build_dataset(request_, quiet)
    return request_.out / "datasets" / "ops"


def test_the_tokens_decode_to_the_documents(request_, dataset):
    model = load_sentencepiece(request_.out / "tokenizers" / "ops.model")
    documents = documents_in(shard_paths(dataset, "val"))
    assert [without_operators(model.decode(d[1:].tolist())) for d in documents] == TEXTS[:10]
    assert all(model.piece_to_id(operator) == 4 + i for i, operator in enumerate(OPERATORS))


def test_the_sidecar_charges_every_byte_of_the_text_once(dataset):
    sizes = read_token_bytes(dataset)
    tokens = np.concatenate(list(documents_in(shard_paths(dataset, "val"))))
    assert sizes.sum() == sum(len(text.encode()) for text in TEXTS[:10])
    assert not sizes[tokens < 8].any()  # control tokens and operators
    assert not list(dataset.glob("fineweb_train_bytes*"))


def test_no_document_of_validation_is_trained_on(request_, dataset):
    manifest = read_manifest(request_.out)
    assert manifest.train.num_documents == 50
    assert (manifest.dropped_from_train.exact, manifest.dropped_from_train.normalised) == (1, 1)
    validation = {document.tobytes() for document in documents_in(shard_paths(dataset, "val"))}
    training = {document.tobytes() for document in documents_in(shard_paths(dataset, "train"))}
    assert len(validation) == 10 and len(training) == 50 and not validation & training


def test_it_inspects_clean_and_is_not_built_twice(request_, dataset):
    assert build_dataset(request_, quiet).was_up_to_date
    (report,) = inspect_folder(request_.out, None, quiet)
    assert (report.manifest, report.problems) == ("agrees", [])
    assert [split.counted_bytes for split in report.splits] == [
        sum(len(text.encode()) for text in TEXTS[:10]),
        None,
    ]


def test_a_sidecar_of_other_tokens_is_refused(dataset, tmp_path):
    for path in dataset.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    write_shard(tmp_path / "fineweb_val_bytes_000000.bin", np.ones(3, dtype=np.uint16))
    with pytest.raises(DataError, match="byte counts for"):
        read_token_bytes(tmp_path)


def test_a_score_is_over_the_bytes_of_the_original_text(request_, dataset):
    settings = {
        "run.data_path": str(dataset),
        "run.tokenizer_path": str(request_.out / "tokenizers" / "ops.model"),
        "model.vocab_size": 330,
        "evaluation.caseops_enabled": True,
    }
    tokens = load_validation_tokens(dataset, 1)
    whole = sum(len(text.encode()) for text in TEXTS[:10])
    assert scored_bytes(build_recipe(settings), tokens) == whole
    tokenizer = request_.out / "tokenizers" / "ops.model"
    assert decoded_bytes(dataset, tokenizer, tokens.size - 1) == whole
    cut = scored_bytes(build_recipe(settings), tokens[:40])
    assert cut == read_token_bytes(dataset)[:40].sum() < whole


def test_a_recipe_that_does_not_know_of_the_operators_is_refused(request_, dataset):
    location = DataLocation(dataset=dataset, tokenizer=request_.out / "tokenizers" / "ops.model")
    recipe = build_recipe({"model.vocab_size": 330})
    with pytest.raises(DataError, match="set evaluation.caseops_enabled to true"):
        check_data(location, recipe)
