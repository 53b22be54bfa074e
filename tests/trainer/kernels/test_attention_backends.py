"""Every way to compute attention gathers the same; a CPU goes without all of them."""

import pytest
import torch
from assert_matches_reference import outputs_and_gradients, relative_error

from trainer.kernels.flash_attention_4 import flash_attention_4
from trainer.model import attention_kernels
from trainer.model.attention_kernels import (
    causal_attention,
    document_attention,
    flash_attention_2,
    flash_attention_3,
    flash_for_documents,
    flash_for_rows,
    row_attention,
)
from trainer.recipe import ModelOptions

BACKENDS = ["auto", "flash_4", "flash_3", "flash_2", "cudnn", "flex"]
BOUNDARIES = torch.tensor([0, 1, 70, 198, 256, 256], dtype=torch.int32)


def heads(*leading):
    torch.manual_seed(0)
    return [torch.randn(*leading, num_heads, 64).bfloat16() for num_heads in (4, 2, 2)]


LIBRARIES = {
    "flash_4": flash_attention_4,
    "flash_3": flash_attention_3,
    "flash_2": flash_attention_2,
}


def means(backend):
    if backend in LIBRARIES and LIBRARIES[backend]() is None:
        pytest.skip(f"{backend} is not installed")
    options = ModelOptions(attention_backend=backend)
    return row_attention(options, flash=flash_for_rows(options)), flash_for_documents(options)


@pytest.mark.parametrize(
    ("backend", "installed", "taken"),
    [
        ("auto", "32", "3"),
        ("auto", "2", "2"),
        ("auto", "", None),
        ("cudnn", "2", "2"),
        ("flash_4", "432", "4"),
        ("flash_4", "32", "3"),
        ("flash_3", "2", "2"),
        ("flash_2", "32", "2"),
        ("flash_2", "", None),
        ("flex", "432", None),
    ],
)
def test_documents_are_for_the_best_that_is_installed(monkeypatch, backend, installed, taken):
    for number in "432":
        found = number if number in installed else None
        monkeypatch.setattr(attention_kernels, f"flash_attention_{number}", lambda it=found: it)
    assert flash_for_documents(ModelOptions(attention_backend=backend)) == taken


def test_rows_are_for_the_library_named_or_for_pytorch(monkeypatch):
    monkeypatch.setattr(attention_kernels, "flash_attention_3", lambda: None)
    options = ModelOptions(attention_backend="flash_3")
    assert row_attention(options, flash=flash_for_rows(options)) is causal_attention


@pytest.mark.parametrize("backend", BACKENDS)
def test_on_a_cpu_rows_are_gathered_plainly(backend):
    options = ModelOptions(attention_backend=backend)
    queries, keys, values = (one.float() for one in heads(2, 16))
    seen = row_attention(options, flash=flash_for_rows(options))(queries, keys, values)
    assert torch.allclose(seen, causal_attention(queries, keys, values), atol=1e-6)


def assert_same(on_gpu, plain, inputs):
    seen = outputs_and_gradients(on_gpu, [one.cuda() for one in inputs])
    expected = outputs_and_gradients(plain, [one.double() for one in inputs])
    for one, other in zip(seen, expected, strict=True):
        assert relative_error(one.cpu(), other) < 0.02


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_on_a_gpu_rows_and_gradients_are_the_references(backend, is_compiled):
    attention, _ = means(backend)
    if is_compiled:
        attention = torch.compile(attention, dynamic=False, fullgraph=True)
    assert_same(attention, causal_attention, heads(2, 128))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_on_a_gpu_documents_and_gradients_are_the_references(backend, is_compiled):
    _, flash = means(backend)
    boundaries = BOUNDARIES.cuda()

    def packed(*inputs):
        return document_attention(boundaries, (1, 256), 128, flash=flash)(*inputs)

    if is_compiled:
        packed = torch.compile(packed, dynamic=False, fullgraph=True)
    plain = document_attention(BOUNDARIES, (1, 256), 128)
    assert_same(packed, plain, heads(1, 256))
