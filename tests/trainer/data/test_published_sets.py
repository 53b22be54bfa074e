import json
import os
import struct
import subprocess
import sys
from dataclasses import replace

import pytest

from trainer.data.published_sets import FetchRequest, fetch_published
from trainer.data.token_shards import read_shard
from trainer.errors import DataError

NAME = "fineweb10B_sp1024"


def shard(num_tokens):
    header = struct.pack("<256i", 20240520, 1, num_tokens, *[0] * 253)
    return header + struct.pack(f"<{num_tokens}H", *range(num_tokens))


def remote_files():
    entry = {
        "name": NAME, "tokenizer_name": "sp_bpe_1024",
        "stats": {"files_val": 1, "files_train": 3, "tokens_val": 50},
    }  # fmt: skip
    tokenizer = {"name": "sp_bpe_1024", "model_path": "tokenizers/fineweb_1024_bpe.model"}
    manifest = {"datasets": [entry], "tokenizers": [tokenizer]}
    shards = {f"datasets/datasets/{NAME}/fineweb_train_00000{n}.bin": shard(100) for n in range(3)}
    return shards | {
        "datasets/manifest.json": json.dumps(manifest).encode(),
        "datasets/tokenizers/fineweb_1024_bpe.model": b"model",
        f"datasets/datasets/{NAME}/fineweb_val_000000.bin": shard(50),
    }


@pytest.fixture
def hub(start_hub):
    return start_hub(remote_files())


@pytest.fixture
def fetch(hub, tmp_path):
    """Fetch sp1024 with one training shard, or with what a test changes."""
    request = FetchRequest(
        variant="sp1024", train_shards=1, out=tmp_path, repo="public/set", endpoint=hub.endpoint
    )
    return lambda **changes: fetch_published(replace(request, **changes), lambda *seen: None)


def file_names(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_files_lie_as_the_public_scripts_expect_them(fetch, tmp_path):
    assert fetch() == tmp_path / "datasets" / NAME
    assert file_names(tmp_path) == [
        f"datasets/{NAME}/fineweb_train_000000.bin",
        f"datasets/{NAME}/fineweb_val_000000.bin",
        "tokenizers/fineweb_1024_bpe.model",
    ]
    assert read_shard(tmp_path / f"datasets/{NAME}/fineweb_val_000000.bin").size == 50


def test_second_call_fetches_only_what_is_new(fetch, hub):
    fetch()
    hub.requests.clear()
    fetch(train_shards=2)
    fetched = [name for method, name, _ in hub.requests if method == "GET"]
    assert fetched == ["manifest.json", "fineweb_train_000001.bin"]


def test_damaged_local_shard_is_fetched_again(fetch, tmp_path):
    path = fetch() / "fineweb_train_000000.bin"
    path.write_bytes(path.read_bytes()[:-1])
    fetch()
    assert read_shard(path).size == 100


def test_torn_download_is_resumed_where_it_broke(fetch, hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100)
    hub.torn.add("fineweb_val_000000.bin")
    assert read_shard(fetch() / "fineweb_val_000000.bin").tolist() == list(range(50))
    starts = [start for _, name, start in hub.requests if name == "fineweb_val_000000.bin"]
    assert starts[-1] == len(shard(50)) // 2 // 100 * 100


def test_file_torn_at_the_source_is_refused_and_not_kept(fetch, hub, tmp_path):
    path = next(path for path in hub.files if path.endswith("train_000000.bin"))
    hub.files[path] = shard(100)[:-2]
    with pytest.raises(DataError, match=r"fineweb_train_000000\.bin: 1222 bytes, but"):
        fetch()
    assert not (tmp_path / f"datasets/{NAME}/fineweb_train_000000.bin").exists()
    hub.files[path] = shard(100)
    assert read_shard(fetch() / "fineweb_train_000000.bin").size == 100


def test_missing_remote_file_is_one_line(fetch, hub):
    hub.files = {path: body for path, body in hub.files.items() if "train_000000" not in path}
    with pytest.raises(DataError, match=r"train_000000\.bin: no such file; check VARIANT") as error:
        fetch()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"variant": "sp2048"}, "does not describe fineweb10B_sp2048"),
        ({"variant": "../x"}, "no such variant"),
        ({"train_shards": 4}, "has 3 training shards of sp1024"),
        ({"repo": "public/other"}, r"manifest\.json: no such file"),
    ],
)
def test_impossible_requests_are_refused(fetch, changes, reason):
    with pytest.raises(DataError, match=reason):
        fetch(**changes)


def test_remote_manifest_cannot_write_outside_the_folder(fetch, hub):
    path = next(path for path in hub.files if path.endswith("manifest.json"))
    hub.files[path] = hub.files[path].replace(b"tokenizers/fineweb_1024", b"tokenizers/../../x")
    with pytest.raises(DataError, match="does not describe"):
        fetch()


def test_validation_of_another_size_than_published_is_refused(fetch, hub):
    path = next(path for path in hub.files if path.endswith("val_000000.bin"))
    hub.files[path] = shard(49)
    with pytest.raises(DataError, match="49 validation tokens, but 50 are published"):
        fetch()


def test_offline_is_one_line(fetch, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="cannot reach the Hub") as error:
        fetch()
    assert "\n" not in str(error.value)


def test_command_uses_the_mirror_that_hf_endpoint_names(start_hub, tmp_path):
    hub = start_hub(remote_files())
    arguments = ["get", "sp1024", "--train-shards", "2", "--repo", "public/set", "--out", tmp_path]
    result = subprocess.run(
        [sys.executable, "-c", "from trainer.data_cli import data; data()", *arguments],
        env=os.environ | {"HF_ENDPOINT": hub.endpoint}, capture_output=True, text=True,
    )  # fmt: skip
    assert result.stdout == f"ready: {tmp_path / 'datasets' / NAME}\n"
    assert result.stderr == ""
    assert len(file_names(tmp_path)) == 4
