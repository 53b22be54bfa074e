import pytest

from trainer.data.data_folder import find_datasets
from trainer.errors import DataError


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize(
    ("name", "tokenizer"),
    [
        ("jargon", "jargon.model"),
        ("fineweb10B_sp1024", "fineweb_1024_bpe.model"),
        ("fineweb10B_byte260", "fineweb_pure_byte_260.json"),
    ],
)
def test_data_set_is_found_with_its_tokenizer(tmp_path, name, tokenizer):
    shard = touch(tmp_path / "datasets" / name / "fineweb_val_000000.bin")
    model = touch(tmp_path / "tokenizers" / tokenizer)
    touch(tmp_path / "tokenizers" / "another.model")
    (location,) = find_datasets(tmp_path)
    assert (location.name, location.folder, location.tokenizer) == (name, shard.parent, model)
    assert find_datasets(shard.parent) == find_datasets(tmp_path / "datasets") == [location]


def test_tokenizer_that_cannot_be_told_is_none(tmp_path):
    touch(tmp_path / "datasets" / "mine" / "fineweb_val_000000.bin")
    touch(tmp_path / "tokenizers" / "other.model")
    assert find_datasets(tmp_path)[0].tokenizer is None


def test_folder_without_shards_says_how_to_get_some(tmp_path):
    with pytest.raises(DataError, match="pgolf-train data get"):
        find_datasets(tmp_path)
