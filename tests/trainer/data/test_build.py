import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest
import sentencepiece

from trainer.data.build import build_dataset
from trainer.data.build_request import BuildRequest
from trainer.data.byte_lengths import count_bytes, load_byte_table
from trainer.data.documents import read_documents, shipped_corpus, text_hashes
from trainer.data.manifest import file_sha256, load_manifest
from trainer.data.token_shards import read_shard, shard_paths
from trainer.errors import DataError

TEXTS = [f"The quick brown fox number {n} jumps over the lazy dog." for n in range(60)]


def silent(stage, done, total):
    pass


def write_jsonl(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


@pytest.fixture
def docs_request(tmp_path):
    """Ten validation documents, fifty training documents, several shards."""
    source = write_jsonl(tmp_path / "docs.jsonl", TEXTS)
    return BuildRequest(
        sources=(source,), val_docs=10, out=tmp_path / "out", name="docs",
        vocab_size=300, shard_tokens=400,
    )  # fmt: skip


def all_tokens(request, split):
    return np.concatenate([read_shard(p) for p in shard_paths(dataset(request), split)])


def dataset(request):
    return request.out / "datasets" / request.name


def file_bytes(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_shards_decode_to_the_documents_in_order(docs_request):
    build_dataset(docs_request, silent)
    model = sentencepiece.SentencePieceProcessor(
        model_file=str(docs_request.out / "tokenizers" / "docs.model")
    )
    decoded = []
    for split in ("val", "train"):
        tokens = all_tokens(docs_request, split)
        starts = np.flatnonzero(tokens == 1)
        assert starts[0] == 0
        decoded += [model.decode(part[1:].tolist()) for part in np.split(tokens, starts[1:])]
    assert decoded == TEXTS


def test_manifest_says_what_the_shards_hold(docs_request):
    manifest = build_dataset(docs_request, silent).manifest
    assert manifest == load_manifest(docs_request.out / "manifest.json")
    table = load_byte_table(docs_request.out / manifest.tokenizer.path, 300)
    for name, split in (("val", manifest.val), ("train", manifest.train)):
        tokens = all_tokens(docs_request, name)
        assert split.num_tokens == tokens.size
        assert split.num_documents == np.count_nonzero(tokens == 1)
        assert split.counted_bytes == count_bytes(table, tokens[:-1], tokens[1:])
        assert [s.num_tokens for s in split.shards[:-1]] == [400] * (len(split.shards) - 1)
        for shard in split.shards:
            assert shard.sha256 == file_sha256(dataset(docs_request) / shard.path)
    assert manifest.val.num_bytes == sum(len(text.encode()) for text in TEXTS[:10])
    assert len(manifest.train.shards) > 1


def test_bytes_do_not_depend_on_the_number_of_workers(docs_request, monkeypatch):
    monkeypatch.setattr("trainer.data.encoding.BATCH_CHARS", 200)
    build_dataset(docs_request, silent)
    parallel = replace(docs_request, out=docs_request.out.with_name("parallel"), workers=3)
    build_dataset(parallel, silent)
    assert file_bytes(docs_request.out) == file_bytes(parallel.out)


def test_training_documents_that_validation_holds_are_left_out(docs_request, tmp_path):
    held_out = write_jsonl(tmp_path / "val.jsonl", [TEXTS[3], TEXTS[7].upper() + "!!"])
    request = replace(docs_request, val_source=held_out, val_docs=0)
    manifest = build_dataset(request, silent).manifest
    assert manifest.dropped_from_train.model_dump() == {"exact": 1, "normalised": 1}
    assert manifest.train.num_documents == len(TEXTS) - 2
    assert manifest.val.num_documents == 2


def test_second_build_of_the_same_is_a_no_op(docs_request):
    first = build_dataset(docs_request, silent)
    stamps = {p: p.stat().st_mtime_ns for p in docs_request.out.rglob("*")}
    second = build_dataset(docs_request, silent)
    assert (first.was_up_to_date, second.was_up_to_date) == (False, True)
    assert second.manifest == first.manifest
    assert {p: p.stat().st_mtime_ns for p in docs_request.out.rglob("*")} == stamps


@pytest.mark.parametrize("damage", ["source", "request", "shard", "manifest"])
def test_another_build_is_replaced_only_when_asked(docs_request, damage):
    build_dataset(docs_request, silent)
    changed = replace(docs_request, shard_tokens=500) if damage == "request" else docs_request
    if damage == "source":
        write_jsonl(docs_request.sources[0], TEXTS[1:])
    if damage == "shard":
        shard_paths(dataset(docs_request), "train")[0].write_bytes(b"torn")
    if damage == "manifest":
        (docs_request.out / "manifest.json").unlink()
    with pytest.raises(DataError, match="--overwrite"):
        build_dataset(changed, silent)
    assert not build_dataset(replace(changed, overwrite=True), silent).was_up_to_date
    assert build_dataset(changed, silent).was_up_to_date


def test_failed_rebuild_leaves_the_old_build_whole(docs_request):
    build_dataset(docs_request, silent)
    before = file_bytes(docs_request.out)
    with docs_request.sources[0].open("a") as file:
        file.write("{broken\n")
    with pytest.raises(DataError, match=r"docs\.jsonl:61: not JSON"):
        build_dataset(replace(docs_request, overwrite=True), silent)
    assert file_bytes(docs_request.out) == before


KILLED_BUILD = """
import os, signal, sys
from pathlib import Path
from trainer.data.build import build_dataset
from trainer.data.build_request import BuildRequest

def die(stage, done, total):
    if stage == "encode" and done > total // 2:
        os.kill(os.getpid(), signal.SIGKILL)

source, out = map(Path, sys.argv[1:])
build_dataset(
    BuildRequest(sources=(source,), val_docs=10, out=out, name="docs", vocab_size=300,
                 shard_tokens=400, workers=2), die)
"""


def wait_until_no_process_names(path, seconds=120):
    """Workers have their parent's command line; each must notice that it is gone."""
    deadline = time.monotonic() + seconds
    while any(str(path) in " ".join(p.info["cmdline"] or []) for p in processes()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def processes():
    return psutil.process_iter(["cmdline"])


def test_killed_build_leaves_no_data_set_and_the_next_one_succeeds(docs_request):
    command = [sys.executable, "-c", KILLED_BUILD, docs_request.sources[0], docs_request.out]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    assert not (docs_request.out / "manifest.json").exists() and not dataset(docs_request).exists()
    assert not build_dataset(docs_request, silent).was_up_to_date
    assert not (docs_request.out / ".building").exists()
    wait_until_no_process_names(docs_request.out)


def test_folder_that_cannot_be_written_is_one_line(docs_request):
    docs_request.out.write_text("a file")
    with pytest.raises(DataError, match="Not a directory"):
        build_dataset(docs_request, silent)


@pytest.mark.parametrize(("val_docs", "reason"), [(60, "no training documents"), (0, "no validat")])
def test_both_splits_need_documents(docs_request, val_docs, reason):
    tokenizer = {"vocab_size": None, "tokenizer": shipped_corpus("jargon").tokenizer}
    with pytest.raises(DataError, match=reason):
        build_dataset(replace(docs_request, val_docs=val_docs, **tokenizer), silent)
    assert not list(docs_request.out.iterdir())


def test_jargon_builds_to_its_pinned_shards(jargon_build):
    pinned = load_manifest(shipped_corpus("jargon").manifest)
    assert load_manifest(jargon_build / "manifest.json").inputs == pinned.inputs
    for shard in (*pinned.train.shards, *pinned.val.shards):
        assert file_sha256(jargon_build / "datasets" / "jargon" / shard.path) == shard.sha256


def test_build_that_differs_from_its_pinned_manifest_is_refused(docs_request):
    pinned = shipped_corpus("jargon").manifest
    with pytest.raises(DataError, match="different from the pinned ones"):
        build_dataset(replace(docs_request, pinned_manifest=pinned), silent)
    assert not dataset(docs_request).exists()


def test_jargon_train_and_validation_share_no_text():
    corpus = shipped_corpus("jargon")
    train, val = (
        {digest for document in read_documents([path]) for digest in text_hashes(document.text)}
        for path in (corpus.train, corpus.val)
    )
    assert len(train) > 4000 and len(val) > 300
    assert not train & val
