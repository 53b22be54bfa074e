"""The operators around FlashAttention-4, with a plain stand-in for the library: it needs a GPU."""

import pytest
import torch

from trainer.kernels.flash_attention_4 import flash_attention_4
from trainer.model.attention_kernels import document_attention

STAND_IN = """
import torch
from trainer.model.attention_kernels import document_mask, document_numbers

def per_query_head(q, k, v, boundaries):
    k, v = (one.repeat_interleave(q.size(1) // one.size(1), dim=1) for one in (k, v))
    numbers = document_numbers(boundaries, len(q))
    scores = torch.einsum("qhd,khd->hqk", q, k) * q.size(2) ** -0.5
    scores = scores.masked_fill(~document_mask(numbers[None])[0], -torch.inf)
    return k, v, scores.softmax(dim=-1)

def _flash_attn_fwd(q, k, v, *, causal, return_lse, cu_seqlens_q, cu_seqlens_k, **lengths):
    assert causal and return_lse and cu_seqlens_q is cu_seqlens_k and len(lengths) == 2
    _, v, weights = per_query_head(q, k, v, cu_seqlens_q)
    gathered = torch.einsum("hqk,khd->qhd", weights, v)
    return gathered, torch.zeros(q.size(1), q.size(0)), None, None, None

def _flash_attn_bwd(q, k, v, out, dout, lse, *, causal, cu_seqlens_q, **lengths):
    assert causal and out.shape == dout.shape and lse.shape == (q.size(1), q.size(0))
    long_k, long_v, weights = per_query_head(q, k, v, cu_seqlens_q)
    slopes = torch.einsum("qhd,khd->hqk", dout, long_v)
    slopes = weights * (slopes - (slopes * weights).sum(-1, keepdim=True)) * q.size(2) ** -0.5
    to_k = torch.einsum("hqk,qhd->khd", slopes, q)
    to_v = torch.einsum("hqk,qhd->khd", weights, dout)
    shared = (*k.shape[:2], -1, k.size(2))
    to_q = torch.einsum("hqk,khd->qhd", slopes, long_k)
    return to_q, to_k.reshape(shared).sum(2), to_v.reshape(shared).sum(2)
"""


@pytest.fixture(scope="module")
def flash(tmp_path_factory):
    folder = tmp_path_factory.mktemp("library")
    (folder / "flash_attn" / "cute").mkdir(parents=True)
    (folder / "flash_attn" / "cute" / "interface.py").write_text(STAND_IN)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        flash_attention_4.cache_clear()
        yield flash_attention_4()
    flash_attention_4.cache_clear()


@pytest.fixture
def heads():
    torch.manual_seed(0)
    shapes = (12, 4, 8), (12, 2, 8), (12, 2, 8)
    return [torch.randn(shape, requires_grad=True) for shape in shapes]


BOUNDARIES = torch.tensor([0, 3, 4, 11, 12, 12], dtype=torch.int32)


def test_outputs_and_gradients_are_those_of_a_plain_mask(flash, heads):
    upstream = torch.randn(12, 4, 8)
    expected = document_attention(BOUNDARIES, (1, 12), 7)(*(one[None] for one in heads))[0]
    seen = flash(*heads, BOUNDARIES, 7)
    assert torch.allclose(seen, expected, atol=1e-6)
    for one, other in zip(
        torch.autograd.grad(seen, heads, upstream),
        torch.autograd.grad(expected, heads, upstream),
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-5)


def test_compilers_take_it_as_it_is(flash, heads):
    compiled = torch.compile(flash, backend="aot_eager", fullgraph=True)
    gathered = compiled(*heads, BOUNDARIES, 7)
    gathered.sum().backward()
    assert torch.allclose(gathered, flash(*heads, BOUNDARIES, 7))
    assert all(one.grad is not None for one in heads)


def test_where_it_is_not_installed_there_is_none():
    flash_attention_4.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None)
        assert flash_attention_4() is None
    flash_attention_4.cache_clear()
