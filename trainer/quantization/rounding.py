"""Rounding to few bits, row by row, as the public scripts do it."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.recipe import QuantizationOptions, matches_any

MAX_KEPT_ELEMENTS = 65_536  # tensors up to this size are kept as floats
CLIP_QUANTILE = 0.9999984  # of the absolute values of a row
SMALLEST_STEP = 2.0**-24  # the smallest positive fp16


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredTensor:
    """What the artifact keeps of one tensor."""

    values: Tensor  # int8 codes (R, C) with a scale; else the tensor itself, fp16 or fp32
    scale: Tensor | None  # (R,) fp16: the value of one code step of each row
    dtype: torch.dtype  # of the tensor before it was stored
    bits: int = 8  # of a code: from -max_code(bits) to max_code(bits)

    @property
    def num_bytes(self) -> int:
        """Bytes with one code a byte."""
        return self.values.nbytes + (0 if self.scale is None else self.scale.nbytes)


def max_code(bits: int) -> int:
    """The largest code: 127 for eight bits, 31 for six. The most negative code is not used."""
    return (1 << bits - 1) - 1


def quantize_state(
    state: Mapping[str, Tensor], options: QuantizationOptions
) -> dict[str, StoredTensor]:
    """Store a model's tensors, each as its name and size say.

    Tensors that the recipe names are fp16, small control tensors fp32 and other small ones fp16;
    the rest are codes.
    """
    return {
        name: store_tensor(name, tensor.detach().cpu(), options) for name, tensor in state.items()
    }


def store_tensor(name: str, tensor: Tensor, options: QuantizationOptions) -> StoredTensor:
    """One tensor in its stored form."""
    if options.gated_attn_quant_gate and name.endswith("attn_gate_w"):
        codes, scale = round_rows_to_largest(tensor)
        return StoredTensor(values=codes, scale=scale, dtype=tensor.dtype)
    if is_rounded(name, tensor, options):
        bits = code_bits(name, options)
        codes, scale = round_rows(tensor, bits)
        if layer_number(name) in layer_numbers(options.int4_layers):
            codes = round_to_multiples(codes, options.int4_step, bits)
        return StoredTensor(values=codes, scale=scale, dtype=tensor.dtype, bits=bits)
    is_fp16 = matches_any(name, options.fp16_passthrough_patterns)
    is_control = matches_any(name, options.int8_keep_float_fp32_name_patterns)
    kept = tensor.float() if is_control and not is_fp16 else tensor.half()
    return StoredTensor(values=kept.contiguous(), scale=None, dtype=tensor.dtype)


def is_rounded(name: str, tensor: Tensor, options: QuantizationOptions) -> bool:
    """Whether a tensor is stored as codes: a large matrix that the recipe does not keep in fp16."""
    is_large = tensor.numel() > MAX_KEPT_ELEMENTS and tensor.ndim == 2
    return is_large and not matches_any(name, options.fp16_passthrough_patterns)


def code_bits(name: str, options: QuantizationOptions) -> int:
    """How many bits each code of a large matrix has."""
    if matches_any(name, options.int8_full_range_patterns):
        return 8
    is_embedding = name.startswith("tok_emb")
    return options.embed_bits if is_embedding and options.embed_bits else options.matrix_bits


def layer_number(name: str) -> int | None:
    """The layer that a tensor belongs to: 3 for `blocks.3.mlp.fc.weight`."""
    parts = name.split(".")
    return int(parts[1]) if parts[0] == "blocks" else None


def layer_numbers(text: str) -> set[int]:
    """The numbers of a comma-separated list."""
    return {int(word) for word in text.split(",") if word.strip()}


def round_rows(
    matrix: Tensor,  # (R, C)
    bits: int,
) -> tuple[Tensor, Tensor]:  # (R, C) int8 codes, (R,) fp16 value of a code step
    """Clip each row at a high quantile and round it to 2^bits - 1 levels.

    A step is never below 1 / max_code: rows that stay within ±1 all share that step, so small
    weights use few codes and compress well.
    """
    rows, largest = matrix.float(), max_code(bits)
    clip = torch.quantile(rows.abs(), CLIP_QUANTILE, dim=1)
    scale = (clip / largest).clamp_min(1.0 / largest)
    clipped = rows.clamp(-clip[:, None], clip[:, None])
    codes = (clipped / scale[:, None]).round().clamp(-largest, largest)
    return codes.to(torch.int8).contiguous(), scale.half()


def round_rows_to_largest(
    matrix: Tensor,  # (R, C)
) -> tuple[Tensor, Tensor]:  # (R, C) int8 codes, (R,) fp16 value of a code step
    """Round each row to eight bits, the largest code for its largest value (gates, #1736)."""
    rows, largest = matrix.float(), max_code(8)
    scale = (rows.abs().amax(dim=1) / largest).half().clamp_min(SMALLEST_STEP)
    codes = (rows / scale.float()[:, None]).round().clamp(-largest, largest)
    return codes.to(torch.int8).contiguous(), scale


def round_to_multiples(
    codes: Tensor,  # (R, C) int8
    step: int,
    bits: int,
) -> Tensor:  # (R, C) int8
    """Codes rounded to multiples of a step: fewer distinct ones, at the scale that they have."""
    coarse = (codes.float() / step).round() * step
    return coarse.clamp(-max_code(bits), max_code(bits)).to(torch.int8)


def dequantize_state(stored: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
    """The tensors that the stored ones stand for, in their original types."""
    return {name: restore_tensor(tensor) for name, tensor in stored.items()}


def restore_tensor(stored: StoredTensor) -> Tensor:
    """One tensor from its stored form."""
    if stored.scale is None:
        return stored.values.to(stored.dtype)
    return (stored.values.float() * stored.scale.float()[:, None]).to(stored.dtype)


def payload_bytes(stored: Mapping[str, StoredTensor]) -> int:
    """Bytes of codes (one a byte), scales and kept floats before compression."""
    return sum(tensor.num_bytes for tensor in stored.values())
