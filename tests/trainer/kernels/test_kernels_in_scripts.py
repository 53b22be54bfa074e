"""A submission's script carries the kernels that its recipe switches on, and no others."""

import importlib.util

import torch

from trainer.kernels.softcapped_cross_entropy.reference import softcapped_cross_entropy
from trainer.recipe import recipe_settings
from trainer.recipe_checks import build_recipe
from trainer.submission_folder.bundle_script import bundle_script


def script_with(**options):
    settings = {f"model.{name}": value for name, value in options.items()}
    return bundle_script(recipe_settings(build_recipe(settings)), "a script")


def test_without_a_switch_nothing_of_triton_is_left():
    assert "triton" not in script_with()


def test_a_switch_brings_its_own_kernel(tmp_path, device):
    path = tmp_path / "script_with_a_kernel.py"
    path.write_text(script_with(fused_ce_enabled=True))
    assert "_matmul_leaky_relu_squared" not in path.read_text()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    stream, head = torch.randn(2, 4, device=device), torch.randn(6, 4, device=device)
    targets = torch.tensor([5, 0], device=device)
    expected = softcapped_cross_entropy(stream @ head.T, targets, 30.0)
    assert torch.allclose(script.head_losses(stream, head, targets, 30.0), expected, atol=1e-4)
