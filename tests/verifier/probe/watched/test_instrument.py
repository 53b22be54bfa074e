"""The instrument's other half: what it asks of PyTorch so that two trainings are alike."""

import os
import subprocess
import sys
from types import ModuleType

import pytest
import torch
import torch.nn.functional as functional

from verifier.probe.watched.instrument.sitecustomize import (
    attention_node,
    default_to_deterministic,
    repeating,
)
from verifier.probe.watched.watching import INSTRUMENT, INSTRUMENTED


@pytest.fixture(autouse=True)
def restored():
    yield
    torch.use_deterministic_algorithms(False)


def strictness() -> str:
    if not torch.are_deterministic_algorithms_enabled():
        return "any"
    return "warns" if torch.is_deterministic_algorithms_warn_only_enabled() else "strict"


@pytest.mark.parametrize("cut_off", [0, 2])
def test_attention_alone_is_strict_on_its_way_there_and_back(cut_off):
    torch.use_deterministic_algorithms(True, warn_only=True)
    queries = torch.randn(1, 2, 16, 8, requires_grad=True)
    seen = []
    queries.register_hook(lambda _: seen.append(strictness()))
    plain = functional.scaled_dot_product_attention

    def padded(*args, **options):
        seen.append(strictness())
        return plain(*args, **options)[..., : 8 - cut_off or None]

    result = repeating(padded)(queries, queries, queries, is_causal=True)
    attention_node(result.grad_fn).register_prehook(lambda _: seen.append(strictness()))
    assert seen == ["strict"] and strictness() == "warns"
    result.sum().backward()
    assert seen == ["strict", "strict", "warns"]
    expected = torch.autograd.grad(
        plain(*[queries] * 3, is_causal=True)[..., : 8 - cut_off].sum(), queries
    )
    assert torch.equal(queries.grad, *expected)


def test_attention_without_a_gradient_or_a_node_of_its_own_is_left_alone():
    attention = repeating(functional.scaled_dot_product_attention)
    assert attention(*[torch.randn(1, 2, 16, 8)] * 3).shape == (1, 2, 16, 8)
    product = repeating(torch.matmul)(torch.randn(2, 2, requires_grad=True), torch.randn(2, 2))
    product.sum().backward()
    assert attention_node(product.grad_fn) is None and strictness() == "warns"


def test_what_is_not_offered_among_repeating_algorithms_is_taken_as_it_is():
    torch.use_deterministic_algorithms(True, warn_only=True)

    def picky(tensor):
        if torch.are_deterministic_algorithms_enabled():
            raise RuntimeError("No available kernel. Aborting execution.")
        return 2 * tensor

    assert repeating(picky)(torch.ones(1)).item() == 2 and strictness() == "warns"


def test_a_fault_of_the_script_in_attention_is_its_own():
    with pytest.raises(RuntimeError, match="dim"):
        repeating(functional.scaled_dot_product_attention)(
            *[torch.ones(2, 3, 4)] * 2, torch.ones(9)
        )
    assert strictness() == "warns"


def test_functions_of_a_library_prefer_what_repeats_itself():
    module = ModuleType("flash_attn_interface")

    def positional(q, causal=False, window=(-1, -1), deterministic=False):
        return q, causal, window, deterministic

    def by_keyword(q, *, deterministic=False, margin=0):
        return q, deterministic, margin

    def neither(q, causal=False):
        return q, causal

    module.first, module.second, module.third, module.number = positional, by_keyword, neither, 3
    default_to_deterministic(module)
    assert positional(1) == (1, False, (-1, -1), True)
    assert positional(1, deterministic=False) == (1, False, (-1, -1), False)
    assert by_keyword(1) == (1, True, 0) and neither(1) == (1, False)


def test_a_watched_script_finds_pytorch_so(tmp_path):
    (tmp_path / "flash_attn_interface.py").write_text(
        "def f(deterministic=False): return deterministic"
    )
    script = (
        "import torch, flash_attn_interface as f;"
        "print(torch.are_deterministic_algorithms_enabled(),"
        " torch.is_deterministic_algorithms_warn_only_enabled(), f.f(),"
        " torch.nn.functional.scaled_dot_product_attention.__module__)"
    )
    path = os.pathsep.join([str(INSTRUMENT), str(tmp_path)])
    environment = os.environ | INSTRUMENTED | {"PYTHONPATH": path}
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ran.stdout.split() == ["True", "True", "True", "sitecustomize"], ran.stderr
