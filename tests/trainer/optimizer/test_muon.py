import pytest
import torch

from trainer.optimizer.muon import Muon, newton_schulz


@pytest.mark.parametrize("shape", [(16, 16), (8, 24), (24, 8)])
def test_five_iterations_bring_singular_values_near_one(shape):
    torch.manual_seed(0)
    matrices = torch.randn(3, *shape)
    values = torch.linalg.svdvals(newton_schulz(matrices, 5))
    assert values.min() > 0.4 and values.max() < 1.3


def test_the_update_keeps_the_directions_of_the_matrix():
    torch.manual_seed(0)
    matrix = torch.randn(1, 12, 8)
    left, _, right = torch.linalg.svd(matrix[0], full_matrices=False)
    in_its_axes = left.T @ newton_schulz(matrix, 5)[0] @ right.T
    off_diagonal = in_its_axes - torch.diag(in_its_axes.diagonal())
    assert off_diagonal.abs().max() < 1e-4


def test_matrices_of_a_batch_are_treated_one_by_one():
    torch.manual_seed(0)
    matrices = torch.randn(4, 6, 10)
    one_by_one = torch.cat([newton_schulz(matrix[None], 5) for matrix in matrices])
    assert torch.allclose(newton_schulz(matrices, 5), one_by_one, atol=1e-5)


def test_a_step_goes_down_the_gradient_by_the_learning_rate(alone):
    torch.manual_seed(0)
    parameter = torch.nn.Parameter(torch.zeros(16, 8))
    parameter.grad = torch.randn(16, 8)
    Muon([{"params": [parameter], "lr": 0.1, "momentum": 0.9}], alone).step()
    assert (parameter * parameter.grad).sum() < 0
    sizes = torch.linalg.svdvals(parameter.detach()) / (0.1 * 2**0.5)
    assert sizes.min() > 0.4 and sizes.max() < 1.3


def test_weight_decay_takes_its_share_of_the_weight_before_the_update(alone):
    moved = []
    for weight_decay in (0.0, 0.5):
        parameter = torch.nn.Parameter(torch.full((4, 4), 2.0))
        parameter.grad = torch.eye(4)
        group = {"params": [parameter], "lr": 0.1, "momentum": 0.9, "weight_decay": weight_decay}
        Muon([group], alone).step()
        moved.append(parameter.detach())
    assert torch.allclose(moved[0] - moved[1], torch.full((4, 4), 2.0 * 0.1 * 0.5))


def test_momentum_remembers_earlier_gradients(alone):
    parameter = torch.nn.Parameter(torch.zeros(4, 4))
    muon = Muon([{"params": [parameter], "lr": 0.1, "momentum": 0.9}], alone)
    parameter.grad = torch.eye(4)
    muon.step()
    after_one = parameter.detach().clone()
    parameter.grad = torch.zeros(4, 4)
    muon.step()
    assert not torch.allclose(parameter, after_one)
