"""The artifact: stored tensors ↔ compressed bytes, the same bytes for the same tensors.

Decompressed, it is the length of the header (4 bytes, little-endian), the header (JSON: how codes
are packed and each tensor's name, shape and types, in the order of names) and the raw tensors in
that order, a scale right after its codes. Nothing in it is executed when it is read.
"""

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainer.errors import DataError
from trainer.quantization.bit_packing import pack_codes, packed_bytes, unpack_codes
from trainer.quantization.codecs import compress, decompress
from trainer.quantization.rounding import StoredTensor
from trainer.recipe import QuantizationOptions

ARTIFACT_FORMAT = "pgolf rows, version 2"
STORED_TYPES = {"int8": torch.int8, "float16": torch.float16, "float32": torch.float32}
MODEL_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedArtifact:
    """The artifact's bytes, and how many there were before compression."""

    compressed: bytes
    raw_bytes: int


def pack_artifact(
    stored: Mapping[str, StoredTensor], options: QuantizationOptions
) -> PackedArtifact:
    """Write tensors as an artifact."""
    is_dense = options.code_packing == "bits"
    entries = []
    body = bytearray()
    for name in sorted(stored):
        tensor = stored[name]
        entries.append(
            {
                "name": name,
                "shape": list(tensor.values.shape),
                "stored": _type_name(tensor.values.dtype),
                "dtype": _type_name(tensor.dtype),
                "bits": tensor.bits if tensor.scale is not None else 0,
            }
        )
        body += _values_bytes(tensor, is_dense=is_dense)
        body += b"" if tensor.scale is None else _tensor_bytes(tensor.scale)
    header = json.dumps({"format": ARTIFACT_FORMAT, "dense": is_dense, "tensors": entries}).encode()
    raw = len(header).to_bytes(4, "little") + header + bytes(body)
    return PackedArtifact(compressed=compress(raw, options.compressor), raw_bytes=len(raw))


def unpack_artifact(compressed: bytes, options: QuantizationOptions) -> dict[str, StoredTensor]:
    """Read an artifact.

    Raises:
        DataError: the bytes are no artifact, or damaged.
    """
    try:
        return _read_tensors(decompress(compressed, options.compressor))
    except (DataError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"the artifact is damaged ({error}); train it again") from None


def _read_tensors(raw: bytes) -> dict[str, StoredTensor]:
    body_start = 4 + int.from_bytes(raw[:4], "little")
    header = json.loads(raw[4:body_start])
    if header["format"] != ARTIFACT_FORMAT:
        raise ValueError(f"format {header['format']!r}, not {ARTIFACT_FORMAT!r}")
    body = io.BytesIO(raw[body_start:])
    tensors: dict[str, StoredTensor] = {}
    for entry in header["tensors"]:
        shape, bits = entry["shape"], int(entry["bits"])
        is_dense = header["dense"] and bits > 0
        stored_type = STORED_TYPES[entry["stored"]]
        tensors[entry["name"]] = StoredTensor(
            values=_read_codes(body, shape, bits)
            if is_dense
            else _read_tensor(body, shape, stored_type),
            scale=_read_tensor(body, shape[:1], torch.float16) if bits else None,
            dtype=MODEL_TYPES[entry["dtype"]],
            bits=bits or 8,
        )
    if body.read(1):
        raise ValueError("bytes left over after the last tensor")
    return tensors


def _read_codes(body: io.BytesIO, shape: list[int], bits: int) -> Tensor:
    num_codes = math.prod(shape)
    codes = unpack_codes(_read_bytes(body, packed_bytes(num_codes, bits)), num_codes, bits)
    return torch.from_numpy(codes.reshape(shape))


def _read_tensor(body: io.BytesIO, shape: list[int], dtype: torch.dtype) -> Tensor:
    content = bytearray(_read_bytes(body, math.prod(shape) * dtype.itemsize))
    if not content:  # one layer has no skips; frombuffer takes no empty buffer
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(content, dtype=dtype).view(shape)


def _read_bytes(body: io.BytesIO, num_bytes: int) -> bytes:
    content = body.read(num_bytes)
    if len(content) != num_bytes:
        raise ValueError("cut short")
    return content


def _values_bytes(tensor: StoredTensor, *, is_dense: bool) -> bytes:
    if tensor.scale is None or not is_dense:
        return _tensor_bytes(tensor.values)
    codes: np.ndarray = tensor.values.flatten().numpy()
    return pack_codes(codes, tensor.bits)


def _tensor_bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()


def _type_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
