import shutil

import numpy as np
import pytest

from trainer.data.byte_lengths import PURE_BYTE_OFFSET
from trainer.data.inspect_folder import documents_in, inspect_folder, printable
from trainer.data.token_shards import write_shard
from trainer.errors import DataError

BOS = 1


def silent(stage, done, total):
    pass


def report_of(folder, tokenizer=None):
    (report,) = inspect_folder(folder, tokenizer, silent)
    return report


def write_split(folder, split, *shards):
    folder.mkdir(parents=True, exist_ok=True)
    for number, tokens in enumerate(shards):
        write_shard(folder / f"fineweb_{split}_{number:06d}.bin", np.array(tokens))


def spell(text):
    return [BOS, *(byte + PURE_BYTE_OFFSET for byte in text.encode())]


@pytest.fixture
def byte_set(tmp_path):
    """A published-style byte260 folder: two validation documents, three for training."""
    folder = tmp_path / "datasets" / "fineweb10B_byte260"
    write_split(folder, "val", spell("held out") + spell("é\x1b[31m"))
    write_split(folder, "train", spell("one") + spell("two")[:2], spell("two")[2:] + spell("three"))
    tokenizer = tmp_path / "tokenizers" / "fineweb_pure_byte_260.json"
    tokenizer.parent.mkdir()
    tokenizer.write_text('{"tokenizer_type": "pure_byte"}')
    return folder


@pytest.fixture
def jargon(jargon_build, tmp_path):
    """A private copy of a built folder."""
    return shutil.copytree(jargon_build, tmp_path / "jargon")


def test_counts_are_those_of_the_documents(byte_set):
    report = report_of(byte_set.parent.parent)
    val, train = report.splits
    assert (val.num_documents, val.num_tokens, val.counted_bytes) == (2, 17, 15)
    assert (train.num_documents, train.num_tokens, train.counted_bytes) == (3, 14, 11)
    assert train.num_shards == 2 and report.vocab_size == 260
    assert (report.manifest, report.problems) == ("absent", [])


def test_text_is_shown_without_control_characters(byte_set):
    val, train = report_of(byte_set).splits
    assert val.first_documents == ["held out", "é\\x1b[31m"]
    assert train.first_documents == ["one", "two", "three"]
    assert printable("a\u202eb\n").isprintable()


def test_documents_are_joined_across_shards(tmp_path):
    write_split(tmp_path, "val", [5, BOS, 6], [7, 8], [BOS], [BOS, 9])
    paths = sorted(tmp_path.iterdir())
    assert [d.tolist() for d in documents_in(paths)] == [[5], [BOS, 6, 7, 8], [BOS], [BOS, 9]]


def test_shared_documents_are_counted(byte_set):
    write_split(byte_set, "train", spell("one"), spell("held out") + spell("held out"))
    report = report_of(byte_set)
    assert report.shared_documents == 2
    assert report.problems == ["train: 2 documents are in validation too"]


def test_foreign_tokens_are_a_problem_not_a_crash(byte_set):
    write_split(byte_set, "val", [7, BOS, 260])
    report = report_of(byte_set)
    assert report.splits[0].counted_bytes is None
    assert [p.partition(":")[0] for p in report.problems] == ["val", "val"]
    assert "token 260, but the tokenizer has 260 tokens" in report.problems[1]


def test_without_a_tokenizer_there_are_counts_but_no_bytes(tmp_path):
    write_split(tmp_path, "val", [BOS, 5])
    report = report_of(tmp_path)
    assert report.tokenizer is None and report.problems == []
    assert (report.splits[0].num_tokens, report.splits[0].counted_bytes) == (2, None)


def test_fresh_build_agrees_with_its_manifest(jargon):
    report = report_of(jargon)
    assert (report.manifest, report.problems, report.shared_documents) == ("agrees", [], 0)


@pytest.mark.parametrize("split", ["val", "train"])
def test_one_changed_token_contradicts_the_manifest(jargon, split):
    path = jargon / "datasets" / "jargon" / f"fineweb_{split}_000000.bin"
    with path.open("r+b") as file:
        file.seek(1024 + 2 * 40)
        file.write(b"\x05\x00")
    report = report_of(jargon)
    assert report.manifest == "contradicts"
    assert f"{path.name}: its SHA-256 is not that of the manifest" in report.problems


def test_added_removed_and_swapped_files_contradict_the_manifest(jargon, tiny_tokenizer):
    dataset = jargon / "datasets" / "jargon"
    (dataset / "fineweb_val_000000.bin").rename(dataset / "fineweb_val_000001.bin")
    shutil.copy(tiny_tokenizer, jargon / "tokenizers" / "jargon.model")
    problems = " ".join(report_of(jargon).problems)
    assert "fineweb_val_000000.bin: missing" in problems
    assert "fineweb_val_000001.bin: not in the manifest" in problems
    assert "not the tokenizer of the manifest" in problems


def test_broken_shard_or_empty_folder_is_an_error(byte_set, tmp_path):
    with pytest.raises(DataError, match="no token shards"):
        report_of(tmp_path / "tokenizers")
    (byte_set / "fineweb_val_000000.bin").write_bytes(bytes(2000))
    with pytest.raises(DataError, match="magic number 0"):
        report_of(byte_set)
