import pytest
import torch

from trainer.optimizer.muon import (
    Muon,
    newton_schulz,
    orthogonalizer,
    polar_express,
    with_equal_rows,
)
from trainer.recipe import OptimizerOptions


@pytest.mark.parametrize("orthogonalize", [newton_schulz, polar_express])
@pytest.mark.parametrize("shape", [(16, 16), (8, 24), (24, 8)])
def test_five_iterations_bring_singular_values_near_one(orthogonalize, shape):
    torch.manual_seed(0)
    matrices = torch.randn(3, *shape)
    values = torch.linalg.svdvals(orthogonalize(matrices, 5))
    assert values.min() > 0.4 and values.max() < 1.3


def test_changing_coefficients_come_nearer_to_one_from_afar():
    diagonal = torch.logspace(0, -2, 16).diag()[None]  # singular values from 1 down to 0.01
    constant, changing = (
        torch.linalg.svdvals(orthogonalize(diagonal, 5)).sub(1).abs().max()
        for orthogonalize in (newton_schulz, polar_express)
    )
    assert changing < constant / 2


def test_the_recipe_chooses_the_coefficients():
    assert orthogonalizer(OptimizerOptions()) is newton_schulz
    assert orthogonalizer(OptimizerOptions(newton_schulz="polar_express")) is polar_express


def test_rows_become_equally_long_and_empty_ones_stay():
    matrices = torch.tensor([[[3.0, 4.0], [0.0, 0.0], [0.0, -0.1]]])
    assert torch.allclose(
        with_equal_rows(matrices), torch.tensor([[[0.6, 0.8], [0.0, 0.0], [0.0, -1.0]]])
    )


def test_normalised_rows_weigh_the_same_in_the_update(alone):
    torch.manual_seed(0)
    gradient = torch.randn(6, 8)
    moved = []
    for factors in (torch.ones(6, 1), torch.logspace(-3, 3, 6)[:, None]):
        parameter = torch.nn.Parameter(torch.zeros(6, 8))
        parameter.grad = gradient * factors
        group = {"params": [parameter], "lr": 0.1, "momentum": 0.9}
        Muon([group], alone, normalizes_rows=True).step()
        moved.append(parameter.detach())
    assert torch.allclose(moved[0], moved[1], atol=1e-5)


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
        Muon([group], alone, normalizes_rows=True).step()
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
