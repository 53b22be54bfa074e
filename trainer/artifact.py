"""The artifact: stored tensors ↔ compressed bytes, the same bytes for the same tensors.

Decompressed (zlib), it is the length of the header (4 bytes, little-endian), the header (JSON:
each tensor's name, shape and types, in the order of names) and the raw tensors in that order, a
scale right after its codes. Nothing in it is executed when it is read.
"""

import io
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.errors import DataError
from trainer.quantization.rounding import StoredTensor

ARTIFACT_FORMAT = "pgolf int8 rows, version 1"
MAX_UNPACKED_BYTES = 1 << 30
STORED_TYPES = {"int8": torch.int8, "float16": torch.float16, "float32": torch.float32}
MODEL_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedArtifact:
    """The artifact's bytes, and how many there were before compression."""

    compressed: bytes
    raw_bytes: int


def pack_artifact(stored: Mapping[str, StoredTensor]) -> PackedArtifact:
    """Write tensors as an artifact."""
    entries = []
    body = bytearray()
    for name in sorted(stored):
        tensor = stored[name]
        entries.append(
            {
                "name": name,
                "shape": list(tensor.values.shape),
                "stored": _type_name(tensor.values),
                "dtype": str(tensor.dtype).removeprefix("torch."),
                "scaled": tensor.scale is not None,
            }
        )
        body += _tensor_bytes(tensor.values)
        body += b"" if tensor.scale is None else _tensor_bytes(tensor.scale)
    header = json.dumps({"format": ARTIFACT_FORMAT, "tensors": entries}).encode()
    raw = len(header).to_bytes(4, "little") + header + bytes(body)
    return PackedArtifact(compressed=zlib.compress(raw, 9), raw_bytes=len(raw))


def unpack_artifact(compressed: bytes) -> dict[str, StoredTensor]:
    """Read an artifact.

    Raises:
        DataError: the bytes are no artifact, or damaged.
    """
    try:
        decompressor = zlib.decompressobj()
        raw = decompressor.decompress(compressed, MAX_UNPACKED_BYTES)
        if not decompressor.eof:
            raise ValueError("cut short, or larger than any artifact")
        return _read_tensors(raw)
    except (zlib.error, ValueError, KeyError, TypeError) as error:
        raise DataError(f"the artifact is damaged ({error}); train it again") from None


def _read_tensors(raw: bytes) -> dict[str, StoredTensor]:
    body_start = 4 + int.from_bytes(raw[:4], "little")
    header = json.loads(raw[4:body_start])
    if header["format"] != ARTIFACT_FORMAT:
        raise ValueError(f"format {header['format']!r}, not {ARTIFACT_FORMAT!r}")
    body = io.BytesIO(raw[body_start:])
    tensors: dict[str, StoredTensor] = {}
    for entry in header["tensors"]:
        shape = entry["shape"]
        tensors[entry["name"]] = StoredTensor(
            values=_read_tensor(body, shape, STORED_TYPES[entry["stored"]]),
            scale=_read_tensor(body, shape[:1], torch.float16) if entry["scaled"] else None,
            dtype=MODEL_TYPES[entry["dtype"]],
        )
    if body.read(1):
        raise ValueError("bytes left over after the last tensor")
    return tensors


def _read_tensor(body: io.BytesIO, shape: list[int], dtype: torch.dtype) -> Tensor:
    num_elements = math.prod(shape)
    content = bytearray(body.read(num_elements * dtype.itemsize))
    if len(content) != num_elements * dtype.itemsize:
        raise ValueError("cut short")
    if not content:  # one layer has no skips; frombuffer takes no empty buffer
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(content, dtype=dtype).view(shape)


def _tensor_bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()


def _type_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
