"""Lossless compression, each codec at its strongest setting; the same bytes for the same input."""

import importlib.util
import lzma
import zlib

from trainer.errors import DataError, RecipeError

MAX_UNPACKED_BYTES = 1 << 30
OPTIONAL_PACKAGES = {"zstd": "zstandard", "brotli": "brotli"}  # codec → package on PyPI


def check_codec(codec: str) -> None:
    """See to it that this machine has the codec, before hours of training depend on it.

    Raises:
        RecipeError: its package is not installed.
    """
    package = OPTIONAL_PACKAGES.get(codec)
    if package is not None and importlib.util.find_spec(package) is None:
        raise RecipeError(
            f"quantization.compressor {codec}: the package {package} is not installed; "
            f"install it (pip install {package}), or choose zlib or lzma"
        )


def compress(raw: bytes, codec: str) -> bytes:
    """Compress."""
    if codec == "zstd":
        import zstandard

        return bytes(zstandard.ZstdCompressor(level=22).compress(raw))
    if codec == "brotli":
        import brotli

        return bytes(brotli.compress(raw, quality=11, lgwin=24))
    if codec == "lzma":
        return lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME)
    return zlib.compress(raw, 9)


def decompress(compressed: bytes, codec: str) -> bytes:
    """What `compress` was given, if that is no longer than any artifact.

    Raises:
        DataError: the bytes were not written by this codec, or are damaged.
    """
    try:
        return _decompress(compressed, codec)
    except (zlib.error, lzma.LZMAError, ValueError) as error:
        raise DataError(f"not {codec}, or damaged: {error}") from None


def _decompress(compressed: bytes, codec: str) -> bytes:
    if codec == "zstd":
        import zstandard

        try:
            return bytes(
                zstandard.ZstdDecompressor().decompress(compressed, allow_extra_data=False)
            )
        except zstandard.ZstdError as error:
            raise ValueError(error) from None
    if codec == "brotli":
        import brotli

        try:
            return bytes(brotli.decompress(compressed))
        except brotli.error as error:
            raise ValueError(error) from None
    decompressor = lzma.LZMADecompressor() if codec == "lzma" else zlib.decompressobj()
    raw = decompressor.decompress(compressed, MAX_UNPACKED_BYTES)
    if not decompressor.eof or decompressor.unused_data:
        raise ValueError("cut short, or longer than it should be")
    return raw
