"""The same lines on a GPU: bf16 arithmetic stays near the fp32 reference on the CPU.

bf16 keeps 8 bits: a relative error of 2^-9 an operation, which a two-layer model adds up to about a
hundredth. Run by hand: `make test-gpu`.
"""

import copy

import pytest
import torch

from trainer.model.transformer import GPT
from trainer.optimizer.muon import newton_schulz
from trainer.recipe import DeviceOptions, ModelOptions
from trainer.train_gpt import set_up_device

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
OPTIONS = ModelOptions(vocab_size=320, num_layers=2, model_dim=128, num_heads=2, num_kv_heads=1)
RELATIVE_ERROR = 0.02


def relative_error(seen: torch.Tensor, reference: torch.Tensor) -> float:
    difference = seen.float().cpu() - reference.float()
    return (difference.norm() / reference.float().norm()).item()


@pytest.fixture
def reference() -> GPT:
    torch.manual_seed(0)
    model = GPT(OPTIONS, num_positions=96)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("is_compiled", [False, True])
def test_losses_and_gradients_are_the_references(reference, is_compiled):
    tokens = torch.randint(320, (4, 97), generator=torch.Generator().manual_seed(1))
    inputs, targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    losses = reference(inputs, targets)
    losses.mean().backward()
    model = copy.deepcopy(reference).cuda()
    model.zero_grad()
    set_up_device(DeviceOptions())
    forward = torch.compile(model, dynamic=False, fullgraph=True) if is_compiled else model
    with torch.autocast("cuda", torch.bfloat16):
        seen = forward(inputs.cuda(), targets.cuda())
    seen.mean().backward()
    assert relative_error(seen.detach(), losses.detach()) < RELATIVE_ERROR
    for name, parameter in reference.named_parameters():
        gradient = model.get_parameter(name).grad
        assert relative_error(gradient, parameter.grad) < 3 * RELATIVE_ERROR, name


@pytest.mark.parametrize("shape", [(3, 128, 256), (2, 256, 128), (1, 64, 64)])
def test_orthogonal_updates_are_the_references(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    reference = newton_schulz(matrices.double(), 5)
    assert relative_error(newton_schulz(matrices.cuda(), 5), reference) < 3 * RELATIVE_ERROR
