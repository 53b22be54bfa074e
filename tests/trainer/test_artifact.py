import zlib
from dataclasses import replace
from itertools import product

import pytest
import torch

from trainer.artifact import pack_artifact, unpack_artifact
from trainer.errors import DataError, TrainerError
from trainer.quantization.rounding import quantize_state
from trainer.recipe import QuantizationOptions

PLAIN = QuantizationOptions(int8_keep_float_fp32_name_patterns="exact")
CODECS = ("zlib", "zstd", "lzma", "brotli")


def store(options):
    torch.manual_seed(0)
    state = {
        "matrix": torch.randn(300, 256).bfloat16(),
        "odd": torch.randn(7),
        "exact": torch.randn(2, 3),
        "exact_single": torch.tensor(1.5),
        "exact_empty": torch.ones(0, 16),
    }
    return quantize_state(state, options)


@pytest.mark.parametrize(
    ("name", "value"),
    [("matrix", torch.nan), ("matrix", torch.inf), ("odd", torch.nan), ("odd", 1e6)],
)
def test_a_model_that_is_no_number_as_stored_is_not_written(name, value):
    state = {"matrix": torch.randn(300, 256), "odd": torch.randn(7)}
    state[name].fill_(value)
    with pytest.raises(TrainerError, match=rf"^{name} \(1 in all\): not finite as stored"):
        pack_artifact(quantize_state(state, PLAIN), PLAIN)


@pytest.mark.parametrize(
    ("bits", "packing", "codec"), list(product((6, 8), ("bytes", "bits", "rans"), CODECS))
)
def test_what_is_read_is_what_was_written(bits, packing, codec):
    options = replace(PLAIN, matrix_bits=bits, code_packing=packing, compressor=codec)
    stored = store(options)
    read = unpack_artifact(pack_artifact(stored, options).compressed, options)
    assert set(read) == set(stored)
    for name, tensor in stored.items():
        assert torch.equal(read[name].values, tensor.values)
        assert (read[name].dtype, read[name].bits) == (tensor.dtype, tensor.bits)
        assert (read[name].scale is None) == (tensor.scale is None)
    assert torch.equal(read["matrix"].scale, stored["matrix"].scale)


def test_the_bytes_do_not_depend_on_the_order_of_the_tensors():
    stored = store(PLAIN)
    backwards = dict(reversed(stored.items()))
    assert pack_artifact(backwards, PLAIN) == pack_artifact(stored, PLAIN)


def test_six_bits_packed_back_to_back_are_three_quarters_of_eight():
    sizes = [
        pack_artifact(store(options), options).raw_bytes
        for bits in (6, 8)
        for options in [replace(PLAIN, matrix_bits=bits, code_packing="bits")]
    ]
    assert sizes[1] - sizes[0] == 300 * 256 // 4


def test_the_header_costs_little_over_the_payload():
    stored = store(PLAIN)
    payload = sum(tensor.num_bytes for tensor in stored.values())
    assert pack_artifact(stored, PLAIN).raw_bytes - payload < 120 * len(stored)


def damaged(compressed):
    raw = zlib.decompress(compressed)
    yield b""
    yield b"not zlib"
    yield compressed[: len(compressed) // 2]
    yield zlib.compress(raw[:-1])
    yield zlib.compress(raw + b"x")
    yield zlib.compress(raw.replace(b"version 4", b"version 9"))
    yield zlib.compress(raw.replace(b'"int8"', b'"int9"'))
    yield zlib.compress(raw.replace(b"[7]", b"[9]"))
    yield zlib.compress(raw.replace(b'"bits": 0', b'"bits": 8', 1))
    yield zlib.compress((2).to_bytes(4, "little") + b"[]")
    yield zlib.compress(b"\xff" * 100)


def test_damage_of_any_kind_is_one_clear_error():
    attempts = list(damaged(pack_artifact(store(PLAIN), PLAIN).compressed))
    assert len(attempts) == 11
    for attempt in attempts:
        with pytest.raises(DataError, match="artifact is damaged"):
            unpack_artifact(attempt, PLAIN)


def test_damaged_words_are_the_same_error():
    options = replace(PLAIN, code_packing="rans")
    whole = pack_artifact(store(options), options).compressed
    flipped = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
    for damaged in (whole[:-2], whole + b"xx", flipped, b"\xff" * 4 + whole[4:], whole[4:], b""):
        with pytest.raises(DataError, match="artifact is damaged"):
            unpack_artifact(damaged, options)


def test_an_artifact_of_another_packing_is_refused():
    packed = pack_artifact(store(PLAIN), PLAIN).compressed
    with pytest.raises(DataError, match="'bytes'"):
        unpack_artifact(packed, replace(PLAIN, code_packing="bits"))


@pytest.mark.parametrize("codec", CODECS)
def test_entropy_coded_codes_take_fewer_bytes_than_any_codec_leaves_of_them(codec):
    bytewise = replace(PLAIN, matrix_bits=6, compressor=codec)
    sizes = [
        len(pack_artifact(store(options), options).compressed)
        for options in (bytewise, replace(bytewise, code_packing="rans"))
    ]
    assert sizes[1] - 4 * 1024 < sizes[0]  # the lanes' states weigh on a matrix this small


def test_shuffled_floats_come_back_and_compress_better():
    kept = replace(PLAIN, fp16_passthrough_patterns="matrix")
    shuffled = replace(kept, byte_shuffle=True)
    packed = pack_artifact(store(shuffled), shuffled).compressed
    assert len(packed) < len(pack_artifact(store(kept), kept).compressed)
    read, stored = unpack_artifact(packed, shuffled), store(shuffled)
    assert all(torch.equal(read[name].values, stored[name].values) for name in stored)
