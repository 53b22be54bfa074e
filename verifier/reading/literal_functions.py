"""The functions that self-unpacking code calls on literals: decoders and string methods, bounded.

Only what is listed here is ever called, and only on plain values, so that evaluating a stub can
neither touch the machine nor outgrow its limits.
"""

import base64
import binascii
import bz2
import codecs
import importlib
import json
import lzma
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

MAX_VALUE_BYTES = 8 << 20
MAX_ITEMS = 1 << 20
_MAX_DICTIONARY_BYTES = 64 << 20
Value: TypeAlias = Any  # text, bytes, a number, or a list, tuple or dict of such
_CODECS = (
    *("utf-8", "utf8", "utf-8-sig", "ascii", "latin-1", "latin1", "iso-8859-1", "utf-16", "utf-32"),
    *("rot13", "rot_13", "hex", "hex_codec", "base64", "base64_codec", "unicode_escape"),
)


class CannotFollow(Exception):
    """A step of a decode chain that is not evaluated; the message names it."""


class LeavesFolder(CannotFollow):
    """A path leads to a file outside of the submission's folder: nobody handed it in."""


class MissingLibrary(CannotFollow):
    """A decompressor that is not installed here: a gap of the reader, not of the submission."""


def bounded(value: Value) -> Value:
    """The value itself.

    Raises:
        CannotFollow: it is larger than a value may be.
    """
    if isinstance(value, (str, bytes, bytearray)) and len(value) > MAX_VALUE_BYTES:
        raise CannotFollow(f"a value larger than {MAX_VALUE_BYTES:,} bytes")
    if isinstance(value, (list, tuple, dict)) and len(value) > MAX_ITEMS:
        raise CannotFollow(f"a list of more than {MAX_ITEMS:,} items")
    if isinstance(value, int) and abs(value) >= 1 << 64:
        raise CannotFollow("a number of more than 64 bits")
    return bytes(value) if isinstance(value, bytearray) else value


def inflate(data: bytes, wbits: int = zlib.MAX_WBITS, bufsize: int = 0) -> bytes:
    """zlib.decompress within the limit."""
    return _drained(zlib.decompressobj(wbits), data)


def gunzip(data: bytes) -> bytes:
    """gzip.decompress within the limit."""
    return _drained(zlib.decompressobj(31), data)


def unbz2(data: bytes) -> bytes:
    """bz2.decompress within the limit."""
    return _drained(bz2.BZ2Decompressor(), data)


def unlzma(
    data: bytes,
    format: int = lzma.FORMAT_AUTO,
    memlimit: int | None = None,
    filters: list[dict[str, Any]] | None = None,
) -> bytes:
    """lzma.decompress within the limit, memory for the dictionary included."""
    if any(int(entry.get("dict_size", 0)) > _MAX_DICTIONARY_BYTES for entry in filters or ()):
        raise CannotFollow("an lzma dictionary of more than 64 MiB")
    limit = None if format == lzma.FORMAT_RAW else 2 * _MAX_DICTIONARY_BYTES
    decompressor = lzma.LZMADecompressor(format=format, memlimit=limit, filters=filters)
    return _drained(decompressor, data, must_end=format != lzma.FORMAT_RAW)


def _drained(decompressor: Value, data: bytes, must_end: bool = True) -> bytes:
    output: bytes = decompressor.decompress(data, MAX_VALUE_BYTES + 1)
    bounded(output)
    if must_end and not decompressor.eof:
        raise CannotFollow("a compressed stream that is cut short")
    return output


def _optional_library(library: str) -> Callable[[bytes], bytes]:
    """A decompressor that is used where it is installed; it must be able to work in pieces."""

    def decompress(data: bytes) -> bytes:
        try:
            module: Value = importlib.import_module(library)
        except ImportError:
            raise MissingLibrary(f"{library} compression, and {library} is not installed") from None
        if library == "brotli":
            decoder = module.Decompressor()
            return bytes(bounded(decoder.process(data, output_buffer_limit=MAX_VALUE_BYTES + 1)))
        reader = module.ZstdDecompressor(max_window_size=_MAX_DICTIONARY_BYTES).stream_reader(data)
        return bytes(bounded(reader.read(MAX_VALUE_BYTES + 1)))

    return decompress


def _refused(what: str) -> Callable[..., Any]:
    def refuse(*_: Value, **__: Value) -> Value:
        raise CannotFollow(what)

    return refuse


def _decode(data: Value, encoding: str = "utf-8", errors: str = "strict") -> Value:
    if encoding.lower() not in _CODECS:
        raise CannotFollow(f"the codec {encoding[:40]!r}")
    return codecs.decode(data, encoding, errors)


def _range(*bounds: int) -> list[int]:
    numbers = range(*bounds)
    if len(numbers) > MAX_ITEMS:
        raise CannotFollow(f"a range of more than {MAX_ITEMS:,} numbers")
    return list(numbers)


def _bytes(value: Value = b"", encoding: str = "utf-8", errors: str = "strict") -> bytes:
    if isinstance(value, str):
        return value.encode(encoding, errors)
    if isinstance(value, int):
        raise CannotFollow("bytes made from a number")
    return bytes(value)


def _text(value: Value = "", encoding: str | None = None, errors: str = "strict") -> str:
    if isinstance(value, bytes) and encoding is not None:
        return str(_decode(value, encoding, errors))
    if not isinstance(value, (str, int, float)):  # a list may hold itself many times over
        raise CannotFollow(f"a {type(value).__name__} made into text")
    return str(value)


def _concatenation(separator: Value, parts: Iterable[Value]) -> Value:
    pieces = list(parts)
    if sum(map(len, pieces)) + len(separator) * len(pieces) > MAX_VALUE_BYTES:
        raise CannotFollow(f"a value larger than {MAX_VALUE_BYTES:,} bytes")
    return separator.join(pieces)


def _extension(values: list[Value], more: Value) -> None:
    bounded(values)
    values.extend(bounded(list(more)))


def _replacement(text: Value, old: Value, new: Value, count: int = -1) -> Value:
    if (text.count(old) if len(old) else len(text) + 1) * len(new) > MAX_VALUE_BYTES:
        raise CannotFollow(f"a value larger than {MAX_VALUE_BYTES:,} bytes")
    return text.replace(old, new, count)


def _translation(text: Value, table: Value, delete: bytes = b"") -> Value:
    if isinstance(text, bytes):
        return text.translate(table, delete)
    if any(isinstance(value, str) and len(value) > 8 for value in table.values()):
        raise CannotFollow("a translation into long strings")
    return text.translate(table)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "base64.b64decode": base64.b64decode,
    "base64.standard_b64decode": base64.standard_b64decode,
    "base64.urlsafe_b64decode": base64.urlsafe_b64decode,
    "base64.decodebytes": base64.decodebytes,
    "base64.b32decode": base64.b32decode,
    "base64.b16decode": base64.b16decode,
    "base64.b85decode": base64.b85decode,
    "base64.a85decode": base64.a85decode,
    "binascii.unhexlify": binascii.unhexlify,
    "binascii.a2b_hex": binascii.a2b_hex,
    "binascii.a2b_base64": binascii.a2b_base64,
    "bytes.fromhex": bytes.fromhex,
    "zlib.decompress": inflate,
    "gzip.decompress": gunzip,
    "bz2.decompress": unbz2,
    "lzma.decompress": unlzma,
    "brotli.decompress": _optional_library("brotli"),
    "zstandard.decompress": _optional_library("zstandard"),
    "marshal.loads": _refused("marshal, which holds compiled code"),
    "pickle.loads": _refused("pickle, which runs code of its own"),
    "codecs.decode": _decode,
    "json.loads": json.loads,
    "bytes": _bytes,
    "bytearray": _bytes,
    "str": _text,
    "chr": chr,
    "ord": ord,
    "int": int,
    "len": len,
    "list": list,
    "tuple": tuple,
    "range": _range,
    "zip": lambda *columns: list(zip(*columns, strict=False)),
    "enumerate": lambda values, start=0: list(enumerate(values, start)),
    "reversed": lambda values: list(reversed(values)),
    "str.maketrans": str.maketrans,
    "bytes.maketrans": bytes.maketrans,
}

CONSTANTS: Mapping[str, Any] = {
    **{
        f"lzma.{name}": getattr(lzma, name)
        for name in dir(lzma)
        if name.startswith(("FORMAT_", "FILTER_", "PRESET_", "CHECK_", "MF_", "MODE_"))
    },
    "zlib.MAX_WBITS": zlib.MAX_WBITS,
}

_PLAIN = "strip lstrip rstrip split rsplit splitlines partition rpartition find rfind index rindex"
_PLAIN += " startswith endswith lower upper swapcase count removeprefix removesuffix"

METHODS: Mapping[tuple[type, str], Callable[..., Any]] = {
    **{(kind, name): getattr(kind, name) for kind in (str, bytes) for name in _PLAIN.split()},
    **{(kind, "join"): _concatenation for kind in (str, bytes)},
    **{(kind, "replace"): _replacement for kind in (str, bytes)},
    **{(kind, "translate"): _translation for kind in (str, bytes)},
    (str, "encode"): lambda text, encoding="utf-8", errors="strict": _bytes(text, encoding, errors),
    (bytes, "decode"): _decode,
    (bytes, "hex"): lambda data: data.hex(),
    (dict, "get"): dict.get,
    (dict, "items"): lambda mapping: list(mapping.items()),
    (dict, "keys"): lambda mapping: list(mapping),
    (dict, "values"): lambda mapping: list(mapping.values()),
    (list, "append"): list.append,
    (list, "extend"): _extension,
    (list, "reverse"): list.reverse,
}
