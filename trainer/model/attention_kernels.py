"""Who attends to whom, and who computes it.

B batch, T tokens, H query heads, K key-value heads, D channels of a head, S boundaries.
"""

import importlib.util
import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

# Queries (B, T, H, D), keys and values (B, T, K, D) → (B, T, H, D).
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def causal_attention(
    queries: Tensor,  # (B, T, H, D)
    keys: Tensor,  # (B, T, K, D)
    values: Tensor,  # (B, T, K, D)
    mask: Tensor | None = None,  # (B, 1, T, T) bool: who may see whom, if not all before
) -> Tensor:  # (B, T, H, D)
    """Each row by itself."""
    gathered = F.scaled_dot_product_attention(
        queries.transpose(1, 2),
        keys.transpose(1, 2),
        values.transpose(1, 2),
        attn_mask=mask,
        is_causal=mask is None,
        enable_gqa=queries.size(2) != keys.size(2),
    )
    return gathered.transpose(1, 2)


def document_attention(
    boundaries: Tensor,  # (S,) int32
    shape: tuple[int, ...],
    longest: int,
) -> Attention:
    """Each document by itself; none goes from one row into the next.

    With FlashAttention-3 where it is installed, FlexAttention on other GPUs, else a plain mask.

    Args:
        boundaries: where documents begin in the rows end to end; ends with their total length,
            once or more often.
        shape: B and T.
        longest: the most tokens of a document.
    """
    if boundaries.is_cuda and flash_attention_3() is not None:
        return partial(_end_to_end, partial(flash_documents, boundaries, longest))
    numbers = document_numbers(boundaries, math.prod(shape))
    if boundaries.is_cuda:
        return partial(_end_to_end, partial(flex_documents, flex_mask(numbers)))
    return partial(causal_attention, mask=document_mask(numbers.view(shape)))


def document_numbers(
    boundaries: Tensor,  # (S,) int32
    num_tokens: int,
) -> Tensor:  # (N,) int64: the document that each token belongs to
    """Tokens of one document share a number."""
    places = torch.arange(num_tokens, device=boundaries.device, dtype=boundaries.dtype)
    return torch.searchsorted(boundaries, places, right=True)


def document_mask(numbers: Tensor) -> Tensor:  # (B, T) → (B, 1, T, T) bool: may row see column
    """Whether both belong to one document and the column does not come later."""
    return (numbers[:, None, :, None] == numbers[:, None, None, :]).tril()


def flex_mask(numbers: Tensor) -> BlockMask:  # (N,)
    """The same mask in FlexAttention's form."""

    def may_see(batch: Tensor, head: Tensor, own: Tensor, other: Tensor) -> Tensor:
        return (numbers[own] == numbers[other]) & (own >= other)

    num_tokens = numbers.numel()
    return create_block_mask(may_see, None, None, num_tokens, num_tokens, device=numbers.device)


def flex_documents(mask: BlockMask, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """FlexAttention under a mask, in one row."""
    gathered = flex_attention(
        queries.to(values.dtype).transpose(1, 2),
        keys.to(values.dtype).transpose(1, 2),
        values.transpose(1, 2),
        block_mask=mask,
        enable_gqa=True,
    )
    assert isinstance(gathered, Tensor)
    return gathered.transpose(1, 2)


def flash_documents(
    boundaries: Tensor, longest: int, queries: Tensor, keys: Tensor, values: Tensor
) -> Tensor:
    """FlashAttention-3 over packed documents, in one row."""
    gathered: Tensor = flash_attention_3()(
        queries[0].to(values.dtype),
        keys[0].to(values.dtype),
        values[0],
        cu_seqlens_q=boundaries,
        cu_seqlens_k=boundaries,
        max_seqlen_q=longest,
        max_seqlen_k=longest,
        causal=True,
    )
    return gathered[None]


@cache
def flash_attention_3() -> Any:  # noqa: ANN401 - a library without types
    """FlashAttention-3's function for packed documents; None where it is not installed."""
    try:
        return importlib.import_module("flash_attn_interface").flash_attn_varlen_func
    except ImportError:
        return None


def _end_to_end(attention: Attention, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    rows = [heads.flatten(0, 1)[None] for heads in (queries, keys, values)]
    return attention(*rows).view(queries.shape)
