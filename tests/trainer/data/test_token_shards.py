import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.token_shards import read_shard, shard_paths, write_shard
from trainer.errors import DataError


@given(tokens=st.lists(st.integers(0, 65535), min_size=1, max_size=300))
def test_what_is_written_is_read_back(tmp_path_factory, tokens):
    path = tmp_path_factory.mktemp("shard") / "fineweb_val_000000.bin"
    write_shard(path, np.array(tokens))
    assert read_shard(path).tolist() == tokens


def test_bytes_are_those_of_the_published_format(tmp_path):
    write_shard(tmp_path / "s.bin", np.array([1, 513], dtype=np.uint16))
    expected = struct.pack("<256i", 20240520, 1, 2, *[0] * 253) + struct.pack("<2H", 1, 513)
    assert (tmp_path / "s.bin").read_bytes() == expected


def test_tokens_are_mapped_not_loaded(tmp_path):
    write_shard(tmp_path / "s.bin", np.arange(5))
    tokens = read_shard(tmp_path / "s.bin")
    assert isinstance(tokens, np.memmap) and tokens.dtype == np.uint16
    with pytest.raises(ValueError):
        tokens[0] = 1


def header(*values):
    return struct.pack(f"<{len(values)}i", *values) + bytes(4 * (256 - len(values)))


@pytest.mark.parametrize(
    "content",
    {
        "empty": b"",
        "shorter than a header": header(20240520, 1, 1)[:1000],
        "wrong magic": header(20240521, 1, 1) + b"ab",
        "wrong version": header(20240520, 2, 1) + b"ab",
        "header rest not zero": header(20240520, 1, 1, 7) + b"ab",
        "no tokens": header(20240520, 1, 0),
        "negative count": header(20240520, 1, -512),
        "truncated": header(20240520, 1, 2) + b"ab",
        "trailing byte": header(20240520, 1, 1) + b"abc",
    }.values(),
)
def test_every_deviation_is_named_with_its_file(tmp_path, content):
    path = tmp_path / "fineweb_train_000000.bin"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"fineweb_train_000000\.bin: .*again") as error:
        read_shard(path)
    assert "\n" not in str(error.value)


def test_missing_shard_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_shard(tmp_path / "fineweb_val_000000.bin")


@pytest.mark.parametrize("tokens", [[], [-1], [65536]])
def test_what_cannot_be_a_shard_is_not_written(tmp_path, tokens):
    with pytest.raises(DataError, match="0 to 65535"):
        write_shard(tmp_path / "s.bin", np.array(tokens, dtype=np.int64))
    assert list(tmp_path.iterdir()) == []


def test_shards_come_in_order_and_by_split(tmp_path):
    for name in ("train_000001", "val_000000", "train_000000"):
        write_shard(tmp_path / f"fineweb_{name}.bin", np.arange(3))
    names = [path.name for path in shard_paths(tmp_path, "train")]
    assert names == ["fineweb_train_000000.bin", "fineweb_train_000001.bin"]


def test_no_shards_says_how_to_get_some(tmp_path):
    with pytest.raises(DataError, match="pgolf-train data build"):
        shard_paths(tmp_path, "val")
