import importlib.util
import random

import pytest

from trainer.errors import DataError, RecipeError
from trainer.quantization.codecs import check_codec, compress, decompress

CODECS = ("zlib", "zstd", "lzma", "brotli")
RAW = bytes(range(64)) * 50 + random.Random(1).randbytes(99)


@pytest.mark.parametrize("codec", CODECS)
def test_what_comes_out_is_what_went_in(codec):
    for raw in (b"", b"x", RAW):
        assert decompress(compress(raw, codec), codec) == raw
    assert compress(RAW, codec) == compress(RAW, codec)
    assert len(compress(RAW, codec)) < len(RAW) / 2


@pytest.mark.parametrize("codec", CODECS)
def test_foreign_cut_or_prolonged_bytes_are_refused(codec):
    packed = compress(RAW, codec)
    for damaged in (b"", b"\x00not this codec", packed[:-1], packed + b"x"):
        with pytest.raises(DataError, match=f"not {codec}, or damaged"):
            decompress(damaged, codec)


def test_a_codec_whose_package_is_missing_is_named_before_it_is_needed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RecipeError, match="pip install zstandard"):
        check_codec("zstd")
    check_codec("lzma")
