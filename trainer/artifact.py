"""The artifact: stored tensors ↔ compressed bytes, the same bytes for the same tensors.

It is a compressed part and, where codes are entropy coded, their words, which compress no further.
Decompressed, the first part is the length of the header (4 bytes, little-endian), the header (JSON:
how codes are packed and each tensor's name, shape and types, in the order of names) and the raw
tensors in that order, a scale right after its codes. Nothing in it is executed when it is read.
"""

import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.errors import DataError, TrainerError
from trainer.quantization.bit_packing import pack_codes, packed_bytes, unpack_codes
from trainer.quantization.codecs import compress, decompress
from trainer.quantization.matrix_coding import CodedMatrices, decode_matrices, encode_matrices
from trainer.quantization.rounding import MAX_KEPT_ELEMENTS, StoredTensor, payload_bytes
from trainer.recipe import QuantizationOptions

ARTIFACT_FORMAT = "pgolf rows, version 4"
LENGTH_BYTES = 4  # of the lengths before the compressed part and before the header
STORED_TYPES = {"int8": torch.int8, "float16": torch.float16, "float32": torch.float32}
MODEL_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedArtifact:
    """The artifact's bytes, and how many there were before compression."""

    compressed: bytes
    raw_bytes: int
    payload_bytes: int  # of codes (one a byte), scales and floats alone

    @property
    def num_bytes(self) -> int:
        """What counts."""
        return len(self.compressed)


def pack_artifact(
    stored: Mapping[str, StoredTensor], options: QuantizationOptions
) -> PackedArtifact:
    """Write tensors as an artifact.

    Raises:
        TrainerError: a tensor is not finite as stored, so that no model could be read back.
    """
    names = sorted(stored)
    refuse_non_finite(stored)
    coded = CodedMatrices(side=b"", words=b"")
    if options.code_packing == "rans":
        values = [stored[name].values for name in names]
        large = [codes for codes in values if is_entropy_coded(codes.dtype, codes.shape, "rans")]
        coded = encode_matrices([codes.numpy() for codes in large])
    header = {
        "format": ARTIFACT_FORMAT,
        "packing": options.code_packing,
        "side_bytes": len(coded.side),
        "tensors": [_entry(name, stored[name]) for name in names],
    }
    encoded = json.dumps(header).encode()
    body = b"".join(stored_content(stored[name], options) for name in names)
    raw = len(encoded).to_bytes(LENGTH_BYTES, "little") + encoded + body + coded.side
    compressed = compress(raw, options.compressor)
    if options.code_packing == "rans":
        compressed = len(compressed).to_bytes(LENGTH_BYTES, "little") + compressed + coded.words
    return PackedArtifact(
        compressed=compressed,
        raw_bytes=len(raw) + len(coded.words),
        payload_bytes=payload_bytes(stored),
    )


def refuse_non_finite(stored: Mapping[str, StoredTensor]) -> None:
    """See to it that all that is stored is a number.

    Raises:
        TrainerError: something is not; the message names the first few tensors.
    """
    names = [
        name
        for name, tensor in stored.items()
        if not all(bool(p.isfinite().all()) for p in (tensor.values, tensor.scale) if p is not None)
    ]
    if names:
        raise TrainerError(
            f"{', '.join(names[:3])} ({len(names)} in all): not finite as stored, trained to no "
            "number or beyond fp16; lower the learning rates, or clip gradients"
        )


def is_entropy_coded(dtype: torch.dtype, shape: Sequence[int], packing: str) -> bool:
    """Whether codes leave the compressed part; where they are few, their levels would cost more."""
    return packing == "rans" and dtype == torch.int8 and math.prod(shape) > MAX_KEPT_ELEMENTS


def stored_content(tensor: StoredTensor, options: QuantizationOptions) -> bytes:
    """What stands of a tensor in the compressed part."""
    if tensor.scale is None:
        return _tensor_bytes(tensor.values, options)
    scale = _tensor_bytes(tensor.scale, options)
    if is_entropy_coded(tensor.values.dtype, tensor.values.shape, options.code_packing):
        return scale
    if options.code_packing == "bits":
        codes: np.ndarray = tensor.values.flatten().numpy()
        return pack_codes(codes, tensor.bits) + scale
    return _tensor_bytes(tensor.values, options) + scale


def unpack_artifact(artifact: bytes, options: QuantizationOptions) -> dict[str, StoredTensor]:
    """Read an artifact.

    Raises:
        DataError: the bytes are no artifact, or damaged.
    """
    compressed, words = artifact, b""
    if options.code_packing == "rans":
        end = LENGTH_BYTES + int.from_bytes(artifact[:LENGTH_BYTES], "little")
        compressed, words = artifact[LENGTH_BYTES:end], artifact[end:]
    try:
        return TensorReader(decompress(compressed, options.compressor), words, options).read_all()
    except (DataError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"the artifact is damaged ({error}); train it again") from None


class TensorReader:
    """Reads tensors one after the other, as the entries of the header describe them."""

    def __init__(self, raw: bytes, words: bytes, options: QuantizationOptions) -> None:
        """Check the header.

        Raises:
            ValueError, LookupError, TypeError: it is damaged, or of another format.
        """
        body_start = LENGTH_BYTES + int.from_bytes(raw[:LENGTH_BYTES], "little")
        header = json.loads(raw[LENGTH_BYTES:body_start])
        found = (header["format"], header["packing"])
        if found != (ARTIFACT_FORMAT, options.code_packing):
            raise ValueError(f"{found}, not {(ARTIFACT_FORMAT, options.code_packing)}")
        self.entries: list[dict[str, Any]] = header["tensors"]
        self.options = options
        side_start = len(raw) - int(header["side_bytes"])
        self.body = io.BytesIO(raw[body_start:side_start])
        self.matrices: Iterator[np.ndarray] = iter(())
        if options.code_packing == "rans":
            coded = CodedMatrices(side=raw[side_start:], words=words)
            shapes = [(e["shape"][0], e["shape"][1]) for e in self.entries if self._is_coded(e)]
            self.matrices = iter(decode_matrices(shapes, coded))

    def read_all(self) -> dict[str, StoredTensor]:
        """All tensors.

        Raises:
            ValueError, LookupError, TypeError: the bytes do not fit the entries.
        """
        tensors = {entry["name"]: self._read(entry) for entry in self.entries}
        if self.body.read(1):
            raise ValueError("bytes left over after the last tensor")
        return tensors

    def _read(self, entry: Mapping[str, Any]) -> StoredTensor:
        shape, bits = entry["shape"], int(entry["bits"])
        if bits and self._is_coded(entry):
            values = torch.from_numpy(next(self.matrices))
        elif bits and self.options.code_packing == "bits":
            values = self._read_packed(shape, bits)
        else:
            values = self._read_tensor(shape, STORED_TYPES[entry["stored"]])
        return StoredTensor(
            values=values,
            scale=self._read_tensor(shape[:1], torch.float16) if bits else None,
            dtype=MODEL_TYPES[entry["dtype"]],
            bits=bits or 8,
        )

    def _is_coded(self, entry: Mapping[str, Any]) -> bool:
        stored = STORED_TYPES[entry["stored"]]
        return is_entropy_coded(stored, entry["shape"], self.options.code_packing)

    def _read_packed(self, shape: list[int], bits: int) -> Tensor:
        num_codes = math.prod(shape)
        codes = unpack_codes(self._read_bytes(packed_bytes(num_codes, bits)), num_codes, bits)
        return torch.from_numpy(codes.reshape(shape))

    def _read_tensor(self, shape: list[int], dtype: torch.dtype) -> Tensor:
        content = self._read_bytes(math.prod(shape) * dtype.itemsize)
        if not content:  # one layer has no skips; frombuffer takes no empty buffer
            return torch.empty(shape, dtype=dtype)
        if self.options.byte_shuffle:
            content = np.frombuffer(content, np.uint8).reshape(dtype.itemsize, -1).T.tobytes()
        return torch.frombuffer(bytearray(content), dtype=dtype).view(shape)

    def _read_bytes(self, num_bytes: int) -> bytes:
        content = self.body.read(num_bytes)
        if len(content) != num_bytes:
            raise ValueError("cut short")
        return content


def _entry(name: str, tensor: StoredTensor) -> dict[str, object]:
    return {
        "name": name,
        "shape": list(tensor.values.shape),
        "stored": _type_name(tensor.values.dtype),
        "dtype": _type_name(tensor.dtype),
        "bits": tensor.bits if tensor.scale is not None else 0,
    }


def _tensor_bytes(tensor: Tensor, options: QuantizationOptions) -> bytes:
    content: bytes = tensor.contiguous().numpy().tobytes()
    if options.byte_shuffle:  # all first bytes, then all second ones: exponents beside exponents
        return np.frombuffer(content, np.uint8).reshape(-1, tensor.dtype.itemsize).T.tobytes()
    return content


def _type_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
