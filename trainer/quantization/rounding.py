"""Rounding to eight bits, row by row, as the public baseline does it."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.recipe import matches_any

MAX_KEPT_ELEMENTS = 65_536  # tensors up to this size are kept as floats
CLIP_QUANTILE = 0.9999984  # of the absolute values of a row
MAX_CODE = 127


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredTensor:
    """What the artifact keeps of one tensor."""

    values: Tensor  # int8 codes (R, C) with a scale; else the tensor itself, fp16 or fp32
    scale: Tensor | None  # (R,) fp16: the value of one code step of each row
    dtype: torch.dtype  # of the tensor before it was stored

    @property
    def num_bytes(self) -> int:
        return self.values.nbytes + (0 if self.scale is None else self.scale.nbytes)


def quantize_state(state: Mapping[str, Tensor], keep_patterns: str) -> dict[str, StoredTensor]:
    """Store a model's tensors: control tensors as fp32, other small ones as fp16, the rest int8.

    Args:
        state: name → tensor.
        keep_patterns: comma-separated parts of the names of control tensors.
    """
    return {
        name: store_tensor(tensor.detach().cpu(), keep_exact=matches_any(name, keep_patterns))
        for name, tensor in state.items()
    }


def store_tensor(tensor: Tensor, *, keep_exact: bool) -> StoredTensor:
    """One tensor in its stored form."""
    if tensor.numel() > MAX_KEPT_ELEMENTS and tensor.ndim == 2:
        codes, scale = round_rows(tensor)
        return StoredTensor(values=codes, scale=scale, dtype=tensor.dtype)
    kept = tensor.float() if keep_exact else tensor.half()
    return StoredTensor(values=kept.contiguous(), scale=None, dtype=tensor.dtype)


def round_rows(
    matrix: Tensor,  # (R, C)
) -> tuple[Tensor, Tensor]:  # (R, C) int8 codes, (R,) fp16 value of a code step
    """Clip each row at a high quantile and round it to 255 levels.

    A step is never below 1/127: rows that stay within ±1 all share that step, so small weights
    use few codes and compress well.
    """
    rows = matrix.float()
    clip = torch.quantile(rows.abs(), CLIP_QUANTILE, dim=1)
    scale = (clip / MAX_CODE).clamp_min(1.0 / MAX_CODE)
    clipped = rows.clamp(-clip[:, None], clip[:, None])
    codes = (clipped / scale[:, None]).round().clamp(-MAX_CODE, MAX_CODE)
    return codes.to(torch.int8).contiguous(), scale.half()


def dequantize_state(stored: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
    """The tensors that the stored ones stand for, in their original types."""
    return {name: restore_tensor(tensor) for name, tensor in stored.items()}


def restore_tensor(stored: StoredTensor) -> Tensor:
    """One tensor from its stored form."""
    if stored.scale is None:
        return stored.values.to(stored.dtype)
    return (stored.values.float() * stored.scale.float()[:, None]).to(stored.dtype)


def payload_bytes(stored: Mapping[str, StoredTensor]) -> int:
    """Bytes of codes, scales and kept floats before compression."""
    return sum(tensor.num_bytes for tensor in stored.values())
