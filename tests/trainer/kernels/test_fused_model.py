"""A model with every kernel switched on computes what it computes without."""

import copy
from dataclasses import replace

import pytest
import torch
from assert_matches_reference import relative_error

from trainer.model import attention, block, feed_forward, transformer
from trainer.model.transformer import GPT
from trainer.recipe import ModelOptions
from trainer.recipe_checks import build_recipe

OPTIONS = ModelOptions(
    vocab_size=320,
    num_layers=3,
    model_dim=64,
    num_heads=4,
    num_kv_heads=2,
    leaky_relu_slope=0.5,
    rope_dims=8,
    ln_scale=True,
    xsa_last_n=2,
    sparse_attn_gate_enabled=True,
    parallel_start_layer=2,
)
SWITCHES = [f"fused_{name}_enabled" for name in ("ce", "mlp", "qk", "qkv", "xsa", "mix")]
SWITCHES += ["folded_scales_enabled"]
KERNELS = ["head_losses", "fused_feed_forward", "fused_heads_of_joint", "fused_normed_and_turned"]
KERNELS += ["fused_gated_without_own_value", "fused_mixed_and_normed"]


def with_and_without(options, num_positions):
    """Two models of the same weights, of which none is zero."""
    torch.manual_seed(0)
    off, on = dict.fromkeys(SWITCHES, False), dict.fromkeys(SWITCHES, True)
    plain = GPT(replace(options, **off), num_positions)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    fused = GPT(replace(options, **on), num_positions)
    fused.load_state_dict(plain.state_dict())
    return plain, fused


@pytest.fixture
def models():
    return with_and_without(OPTIONS, num_positions=16)


def losses_and_gradients(model, forward, device, boundaries=None):
    tokens = torch.randint(320, (2, 17), generator=torch.Generator().manual_seed(1)).to(device)
    inputs, targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    if boundaries is not None:  # of documents in one row
        inputs, targets = inputs.view(1, -1), targets.view(1, -1)
        boundaries = boundaries.to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        losses = forward(inputs, targets, boundaries=boundaries)
    losses.mean().backward()
    gradients = {name: p.grad.double().cpu() for name, p in model.named_parameters()}
    return losses.detach().double().cpu(), gradients


def is_matrix(gradient):
    """Not a scalar's, nor a table of scalars: there the sum over all tokens cancels in bf16."""
    return gradient.ndim == 2 and min(gradient.shape) > 3


def called_kernels(monkeypatch):
    """The names of the kernels that a model calls from now on, wherever it runs."""
    called = set()
    for module in (attention, block, feed_forward, transformer):
        for asks in {"runs_kernels", "moves_tiles"} & set(vars(module)):
            monkeypatch.setattr(module, asks, lambda tensor: True)
        for name in set(KERNELS) & set(vars(module)):
            kernel = getattr(module, name)

            def watched(*args, kernel=kernel, name=name):
                called.add(name)
                return kernel(*args)

            monkeypatch.setattr(module, name, watched)
    return called


@pytest.mark.parametrize("is_joint", [True, False])
def test_losses_and_gradients_are_those_of_the_plain_model(device, models, is_joint, monkeypatch):
    plain, fused = models
    for layer in fused.blocks:
        layer.attn.options = replace(layer.attn.options, fused_qkv_enabled=is_joint)
    expected, expected_gradients = losses_and_gradients(plain, plain, torch.device("cpu"))
    called = called_kernels(monkeypatch)
    fused.to(device)
    losses, gradients = losses_and_gradients(fused, fused, device)
    other = "fused_normed_and_turned" if is_joint else "fused_heads_of_joint"
    assert called == set(KERNELS) - {other}
    tolerance = 1e-4 if device.type == "cpu" else 0.03  # in bf16
    assert relative_error(losses, expected) < tolerance
    for name, gradient in expected_gradients.items():
        if is_matrix(gradient):
            assert relative_error(gradients[name], gradient) < 5 * tolerance, name


@pytest.mark.parametrize("name", ["pr1530", "pr1855", "pr1886"])
def test_so_are_those_of_a_recipe_in_its_loops_over_packed_documents(
    device, name, tiny_form, monkeypatch
):
    options = build_recipe(tiny_form(name)).model
    plain, fused = with_and_without(options, num_positions=32)
    boundaries = torch.tensor([0, 1, 12, 32, 32], dtype=torch.int32)
    expected, expected_gradients = losses_and_gradients(
        plain, plain, torch.device("cpu"), boundaries
    )
    called = called_kernels(monkeypatch)
    losses, gradients = losses_and_gradients(fused.to(device), fused, device, boundaries)
    assert called == set(KERNELS) - {"fused_normed_and_turned"} and len(fused.steps) == 17
    tolerance = 1e-4 if device.type == "cpu" else 0.05  # in bf16
    assert relative_error(losses, expected) < tolerance
    for parameter, gradient in expected_gradients.items():
        if gradient.norm() > 0 and (is_matrix(gradient) or device.type == "cpu"):
            assert relative_error(gradients[parameter], gradient) < 10 * tolerance, parameter


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_stream_in_bf16_stays_near_the_one_in_fp32(models):
    device, wide = torch.device("cuda"), models[1].cuda()
    narrow = GPT(replace(wide.options, bf16_stream_enabled=True), num_positions=16).to(device)
    narrow.load_state_dict(wide.state_dict())
    expected, expected_gradients = losses_and_gradients(wide, wide, device)
    losses, gradients = losses_and_gradients(narrow, narrow, device)
    assert 0 < relative_error(losses, expected) < 0.02
    for name, gradient in expected_gradients.items():
        if is_matrix(gradient):
            assert relative_error(gradients[name], gradient) < 0.15, name


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_compiled_as_a_whole_it_computes_the_same(models):
    fused = models[1].cuda()
    device = torch.device("cuda")
    expected, expected_gradients = losses_and_gradients(fused, fused, device)
    compiled = copy.deepcopy(fused)
    compiled.zero_grad()
    forward = torch.compile(compiled, dynamic=False, fullgraph=True)
    losses, gradients = losses_and_gradients(compiled, forward, device)
    assert relative_error(losses, expected) < 0.01
    for name, gradient in expected_gradients.items():
        if is_matrix(gradient):
            assert relative_error(gradients[name], gradient) < 0.1, name


def test_without_gradients_the_layers_themselves_are_gone_through(models):
    seen = []
    models[1].blocks[0].mlp.fc.register_forward_pre_hook(lambda *_: seen.append(1))
    with torch.no_grad():
        models[1](torch.zeros(1, 4).long(), torch.zeros(1, 4).long())
    assert seen == [1]
