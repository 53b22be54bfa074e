"""The track's data: found, complete, and what its pins and headers say."""

import hashlib
from pathlib import Path

import pytest
from tiny_track import TINY_TOKENS, write_shard

from verifier.errors import DataError
from verifier.schemas.track_yaml import Dataset, ShardPin
from verifier.track_data import count_tokens, locate_data

VAL = "datasets/tiny_sp64/fineweb_val_000000.bin"
TRAIN = "datasets/tiny_sp64/fineweb_train_000000.bin"
TOKENIZER = "tokenizers/tiny_64_bpe.model"


def dataset(*pins: ShardPin) -> Dataset:
    return Dataset(default_folder="data", mend="make data", families=(), pins=pins)


def pin(data: Path, name: str) -> ShardPin:
    return ShardPin(path=name, sha256=hashlib.sha256((data / name).read_bytes()).hexdigest())


def test_data_is_found_with_its_tokenizer(data):
    found = locate_data(dataset(), data)
    assert [file.path for file in found.files] == [TRAIN, VAL, TOKENIZER]
    assert found.scored_tokens == TINY_TOKENS


def test_every_validation_shard_counts_and_nothing_else(data):
    folder = data / "datasets" / "tiny_sp64"
    write_shard(folder / "fineweb_val_000001.bin", 100)
    write_shard(folder / "fineweb_val_bytes_000000.bin", 1_000)
    assert locate_data(dataset(), data).scored_tokens == TINY_TOKENS + 100


def test_a_folder_named_for_validation_fools_nobody(data):
    (data / "datasets" / "tiny_sp64").rename(data / "datasets" / "my_val_train_sp64")
    assert locate_data(dataset(), data).scored_tokens == TINY_TOKENS


@pytest.mark.parametrize(
    ("name", "tokenizer"),
    [
        ("fineweb10B_sp1024", "fineweb_1024_bpe.model"),
        ("fineweb10B_sp8192", "fineweb_8192_bpe.model"),
        ("fineweb10B_sp8192_lossless_caps", "fineweb_8192_bpe_lossless_caps.model"),
        ("jargon", "jargon.model"),
    ],
)
def test_each_dataset_meets_its_own_tokenizer(data, name, tokenizer):
    for known in ("1024_bpe", "8192_bpe", "8192_bpe_lossless_caps"):
        (data / "tokenizers" / f"fineweb_{known}.model").touch()
    (data / "tokenizers" / "jargon.model").touch()
    (data / "datasets" / "tiny_sp64").rename(data / "datasets" / name)
    assert locate_data(dataset(), data).tokenizer.name == tokenizer


def test_a_tokenizer_of_another_size_is_none(data):
    (data / "datasets" / "tiny_sp64").rename(data / "datasets" / "tiny_sp128")
    with pytest.raises(DataError, match="no tokenizer of tiny_sp128"):
        locate_data(dataset(), data)


def test_the_wanted_one_of_several_datasets_is_taken(data):
    other = data / "datasets" / "other_sp64"
    other.mkdir()
    for split in ("train", "val"):
        write_shard(other / f"fineweb_{split}_000000.bin", 50)
    assert locate_data(dataset(), data, "other_sp64").scored_tokens == 49
    with pytest.raises(DataError, match="several datasets"):
        locate_data(dataset(), data)


def test_what_is_missing_names_what_the_submission_wants(tmp_path):
    with pytest.raises(DataError, match="bring it with 'make data', or mine_sp64, which the sub"):
        locate_data(dataset(), tmp_path, "mine_sp64")


def test_pinned_data_that_agrees_is_taken(data):
    pins = [pin(data, name) for name in (TRAIN, VAL, TOKENIZER)]
    assert all(file.sha256 for file in locate_data(dataset(*pins), data).files)


@pytest.mark.parametrize("name", [TRAIN, VAL, TOKENIZER])
def test_pinned_data_that_differs_is_refused(data, name):
    pins = [pin(data, name) for name in (TRAIN, VAL, TOKENIZER)]
    content = (data / name).read_bytes()
    (data / name).write_bytes(content[:-1] + b"!")
    with pytest.raises(DataError, match="is not the file that the track pins"):
        locate_data(dataset(*pins), data)


def test_data_beyond_the_pins_is_refused(data):
    pins = [pin(data, name) for name in (TRAIN, VAL, TOKENIZER)]
    write_shard(data / "datasets" / "tiny_sp64" / "fineweb_train_000001.bin", 10)
    with pytest.raises(DataError, match="does not belong to the track"):
        locate_data(dataset(*pins), data)


def test_a_link_out_of_the_folder_is_refused(data, tmp_path):
    (data / VAL).rename(tmp_path / "elsewhere.bin")
    (data / VAL).symlink_to(tmp_path / "elsewhere.bin")
    with pytest.raises(DataError, match="links to a place that the sandbox does not show"):
        locate_data(dataset(), data)


@pytest.mark.parametrize("num_tokens", [0, 1, 65_537])
def test_tokens_are_counted_by_the_header(tmp_path, num_tokens):
    write_shard(tmp_path / "shard.bin", num_tokens)
    assert count_tokens(tmp_path / "shard.bin") == num_tokens
