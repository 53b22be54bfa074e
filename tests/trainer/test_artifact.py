import zlib

import pytest
import torch

from trainer.artifact import pack_artifact, unpack_artifact
from trainer.errors import DataError
from trainer.quantization.rounding import store_tensor


@pytest.fixture
def stored():
    torch.manual_seed(0)
    return {
        "matrix": store_tensor(torch.randn(300, 256).bfloat16(), keep_exact=False),
        "odd": store_tensor(torch.randn(7), keep_exact=False),
        "exact": store_tensor(torch.randn(2, 3), keep_exact=True),
        "single": store_tensor(torch.tensor(1.5), keep_exact=True),
        "empty": store_tensor(torch.ones(0, 16), keep_exact=True),
    }


def test_what_is_read_is_what_was_written(stored):
    read = unpack_artifact(pack_artifact(stored).compressed)
    assert set(read) == set(stored)
    for name, tensor in stored.items():
        assert torch.equal(read[name].values, tensor.values)
        assert read[name].dtype == tensor.dtype
        assert (read[name].scale is None) == (tensor.scale is None)
    assert torch.equal(read["matrix"].scale, stored["matrix"].scale)


def test_the_bytes_do_not_depend_on_the_order_of_the_tensors(stored):
    backwards = dict(reversed(stored.items()))
    assert pack_artifact(backwards).compressed == pack_artifact(stored).compressed


def test_the_header_costs_little_over_the_payload(stored):
    artifact = pack_artifact(stored)
    payload = sum(tensor.num_bytes for tensor in stored.values())
    assert artifact.raw_bytes - payload < 120 * len(stored)


def damaged(compressed):
    raw = zlib.decompress(compressed)
    yield b""
    yield b"not zlib"
    yield compressed[: len(compressed) // 2]
    yield zlib.compress(raw[:-1])
    yield zlib.compress(raw + b"x")
    yield zlib.compress(raw.replace(b"version 1", b"version 9"))
    yield zlib.compress(raw.replace(b'"int8"', b'"int9"'))
    yield zlib.compress(raw.replace(b"[7]", b"[9]"))
    yield zlib.compress((2).to_bytes(4, "little") + b"[]")
    yield zlib.compress(b"\xff" * 100)


def test_damage_of_any_kind_is_one_clear_error(stored):
    attempts = list(damaged(pack_artifact(stored).compressed))
    assert len(attempts) == 10
    for attempt in attempts:
        with pytest.raises(DataError, match="artifact is damaged"):
            unpack_artifact(attempt)
