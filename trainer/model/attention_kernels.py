"""Who attends to whom, and who computes it.

B batch, T tokens, H query heads, K key-value heads, D channels of a head, S boundaries.
"""

import importlib.util
import inspect
import math
from collections.abc import Callable
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from trainer.kernels.flash_attention_4 import FlashDocuments, flash_attention_4, spans_of
from trainer.recipe import ModelOptions

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


def flash_for_rows(options: ModelOptions) -> FlashDocuments | None:
    """The FlashAttention that the recipe names; None where PyTorch is to choose for itself."""
    if options.attention_backend == "flash_4":
        return flash_attention_4()
    if options.attention_backend == "flash_3":
        return flash_attention_3()
    if options.attention_backend == "flash_2":
        return flash_attention_2()
    return None


def flash_for_documents(options: ModelOptions) -> FlashDocuments | None:
    """The same for packed documents, or the next best; None where FlexAttention must do.

    In rows PyTorch's own choice is faster than its FlashAttention over documents: 2.7 ms for 4.2
    on an H100 (benchmarks/RESULTS.md). Within documents it has none.
    """
    if options.attention_backend == "flex":
        return None
    return flash_for_rows(options) or flash_attention_3() or flash_attention_2()


def row_attention(options: ModelOptions, *, flash: FlashDocuments | None = None) -> Attention:
    """Each row by itself, by the means that the recipe names; PyTorch chooses where it has none.

    Args:
        options: name the means.
        flash: as `flash_for_rows` gives it.
    """
    if options.attention_backend == "cudnn":
        return cudnn_attention
    if options.attention_backend == "flex" or (
        options.attention_backend != "auto" and flash is not None
    ):
        return partial(rows_as_documents, flash)
    return causal_attention


def cudnn_attention(
    queries: Tensor,  # (B, T, H, D)
    keys: Tensor,  # (B, T, K, D)
    values: Tensor,  # (B, T, K, D)
) -> Tensor:  # (B, T, H, D)
    """Each row by itself, with cuDNN where it can: on an H100 half as fast again as flash."""
    wanted = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
    with sdpa_kernel(wanted, set_priority=True):
        return causal_attention(queries, keys, values)


def rows_as_documents(
    flash: FlashDocuments | None,
    queries: Tensor,  # (B, T, H, D)
    keys: Tensor,  # (B, T, K, D)
    values: Tensor,  # (B, T, K, D)
) -> Tensor:  # (B, T, H, D)
    """Each row by itself, as a document of its own."""
    num_rows, num_tokens = queries.shape[:2]
    end = num_rows * num_tokens + 1
    boundaries = torch.arange(0, end, num_tokens, dtype=torch.int32, device=queries.device)
    attention = document_attention(boundaries, queries.shape[:2], num_tokens, flash=flash)
    return attention(queries, keys, values)


def document_attention(
    boundaries: Tensor,  # (S,) int32
    shape: tuple[int, ...],
    longest: int,
    *,
    flash: FlashDocuments | None = None,
) -> Attention:
    """Each document by itself; none goes from one row into the next.

    On GPUs with the FlashAttention that is given, or with FlexAttention; on CPUs with a plain mask.

    Args:
        boundaries: where documents begin in the rows end to end; ends with their total length,
            once or more often.
        shape: B and T.
        longest: the most tokens of a document.
        flash: as `flash_for_documents` gives it.
    """
    if boundaries.is_cuda and flash is not None:
        return partial(_end_to_end, partial(flash_documents, flash, boundaries, longest))
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
    flash: FlashDocuments,
    boundaries: Tensor,  # (S,) int32
    longest: int,
    *heads: Tensor,  # (1, N, H, D) queries, (1, N, K, D) keys and values
) -> Tensor:  # (1, N, H, D)
    """FlashAttention over packed documents, in one row."""
    # Not one[0]: its gradient would be written into a tensor of zeros, that of a view is a view.
    queries, keys, values = (one.squeeze(0).to(heads[-1].dtype) for one in heads)
    return flash(queries, keys, values, boundaries, longest)[None]


@cache
def flash_attention_3() -> FlashDocuments | None:
    """Causal attention within each document; None where FlashAttention-3 is not installed."""
    if importlib.util.find_spec("flash_attn_interface") is None:
        return None
    library = importlib.import_module("flash_attn_interface")

    def documents(
        queries: Tensor, keys: Tensor, values: Tensor, boundaries: Tensor, longest: int
    ) -> Tensor:
        gathered: Tensor = library.flash_attn_varlen_func(
            queries, keys, values, causal=True, **spans_of(boundaries, longest)
        )
        return gathered

    return documents


@cache
def flash_attention_2() -> FlashDocuments | None:
    """Causal attention within each document by PyTorch's own means; None before PyTorch 2.11."""
    if importlib.util.find_spec("torch.nn.attention.varlen") is None:
        return None
    attend = importlib.import_module("torch.nn.attention.varlen").varlen_attn
    known = inspect.signature(attend).parameters
    if "window_size" not in known:
        return None
    # Later versions want to be told that query heads share keys; earlier ones see it.
    shared = {"enable_gqa": True} if "enable_gqa" in known else {}

    def documents(
        queries: Tensor, keys: Tensor, values: Tensor, boundaries: Tensor, longest: int
    ) -> Tensor:
        spans = (boundaries, boundaries, longest, longest)
        gathered: Tensor = attend(queries, keys, values, *spans, window_size=(-1, 0), **shared)
        return gathered

    return documents


def _end_to_end(attention: Attention, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    rows = [heads.flatten(0, 1)[None] for heads in (queries, keys, values)]
    return attention(*rows).view(queries.shape)
