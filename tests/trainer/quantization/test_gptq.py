import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.quantization.gptq import (
    DAMPING,
    coarse_steps,
    compensated_codes,
    gptq_codes,
    inverse_factor,
    nearest_codes,
    output_error,
    row_grid,
    sigma_steps,
)


def correlated(rows, columns, seed=0, num_inputs=400):
    """A matrix and the Hessian of inputs that move together."""
    random = torch.Generator().manual_seed(seed)
    matrix = torch.randn(rows, columns, generator=random, dtype=torch.float64)
    mixing = torch.randn(columns, columns, generator=random, dtype=torch.float64)
    inputs = torch.randn(num_inputs, columns, generator=random, dtype=torch.float64) @ mixing
    return matrix, inputs.T @ inputs / num_inputs


def optimal_brain_codes(matrix, hessian, grid):
    """Columns one by one, the inverse of what is left computed anew for each, in fp64."""
    order = hessian.diagonal().argsort(descending=True, stable=True).tolist()
    damped = hessian + DAMPING * hessian.diagonal().mean() * torch.eye(len(order))
    weights, steps = matrix.clone(), grid.steps.double()[:, 0]
    codes = torch.zeros(matrix.shape, dtype=torch.int8)
    for place, column in enumerate(order):
        left = order[place:]
        inverse = torch.linalg.inv(damped[left][:, left])
        code = (weights[:, column] / steps).round().clamp(-grid.largest, grid.largest)
        error = (weights[:, column] - code * steps) / inverse[0, 0]
        weights[:, left] -= error[:, None] * inverse[0]
        codes[:, column] = code.to(torch.int8)
    return codes


@pytest.mark.parametrize(("rows", "columns", "bits"), [(5, 7, 4), (16, 33, 3), (9, 200, 6)])
def test_codes_are_those_of_optimal_brain_surgery_column_by_column(rows, columns, bits):
    matrix, hessian = correlated(rows, columns)
    grid = row_grid(sigma_steps(matrix, bits, 3.0), bits)
    codes = compensated_codes(matrix.float(), hessian.float(), grid)
    wanted = optimal_brain_codes(matrix, hessian, grid)
    # In fp32 a weight half-way between two codes may fall to either side, and its row goes on so.
    assert (codes == wanted).float().mean() > 0.97
    assert output_error(matrix, hessian, codes, grid).sum() == pytest.approx(
        output_error(matrix, hessian, wanted, grid).sum().item(), rel=0.02
    )


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), bits=st.integers(2, 8), sigmas=st.floats(0.5, 20))
def test_no_row_does_more_to_the_outputs_than_at_the_nearest_codes(seed, bits, sigmas):
    matrix, hessian = correlated(6, 40, seed, num_inputs=30)  # fewer inputs than columns
    grid = row_grid(sigma_steps(matrix, bits, sigmas), bits)
    compensated, nearest = (
        output_error(matrix, hessian, codes, grid)
        for codes in (gptq_codes(matrix, hessian, grid), nearest_codes(matrix, grid))
    )
    assert (compensated <= nearest).all()


def test_correlated_inputs_let_most_of_the_error_be_made_up_for():
    matrix, hessian = correlated(64, 300, num_inputs=3000)
    grid = row_grid(sigma_steps(matrix, 6, 12.0), 6)
    compensated, nearest = (
        output_error(matrix, hessian, codes, grid).sum()
        for codes in (gptq_codes(matrix, hessian, grid), nearest_codes(matrix, grid))
    )
    assert compensated < 0.5 * nearest


def test_inputs_that_do_not_move_together_leave_the_nearest_codes():
    matrix, _ = correlated(8, 150)
    grid = row_grid(sigma_steps(matrix, 5, 4.0), 5)
    alone = torch.diag(torch.arange(150.0))  # the first input is never on
    assert torch.equal(gptq_codes(matrix, alone, grid), nearest_codes(matrix, grid))


def test_the_factor_squares_to_the_inverse_of_the_damped_hessian():
    _, hessian = correlated(1, 50)
    factor = inverse_factor(hessian.float()).double()
    damped = hessian + DAMPING * hessian.diagonal().mean() * torch.eye(50)
    assert torch.equal(factor, factor.triu())
    torch.testing.assert_close(
        factor.T @ factor @ damped, torch.eye(50).double(), atol=1e-3, rtol=0
    )


def test_a_grid_ends_at_so_many_deviations_of_its_row():
    matrix = torch.randn(4, 5000) * torch.tensor([1e-3, 0.1, 1.0, 0.0])[:, None]
    step = sigma_steps(matrix, 6, 12.0)
    assert step[:3].tolist() == pytest.approx([12e-3 / 31, 1.2 / 31, 12 / 31], rel=0.05)
    assert torch.isfinite(matrix / step.float()[:, None]).all()  # a row of zeros too
    assert not nearest_codes(matrix, row_grid(step, 6))[3].any()


@pytest.mark.gpu
def test_a_gpu_makes_up_for_as_much_as_a_cpu():
    matrix, hessian = (tensor.float() for tensor in correlated(512, 2048, num_inputs=8000))
    grid = row_grid(sigma_steps(matrix, 6, 12.0), 6)
    wanted = output_error(matrix, hessian, gptq_codes(matrix, hessian, grid), grid).sum()
    grid_there = row_grid(sigma_steps(matrix, 6, 12.0).cuda(), 6)
    codes = gptq_codes(matrix.cuda(), hessian.cuda(), grid_there).cpu()
    assert output_error(matrix, hessian, codes, grid).sum() == pytest.approx(
        wanted.item(), rel=0.01
    )


@pytest.mark.parametrize("mantissa_bits", [1, 4, 10])
def test_coarse_steps_are_as_near_as_their_digits_allow(mantissa_bits):
    steps = 2.0 ** torch.empty(5000).uniform_(-14, 5, generator=torch.Generator().manual_seed(0))
    coarse = coarse_steps(steps.half(), mantissa_bits)
    assert ((coarse.float() / steps.half().float() - 1).abs() <= 2.0 ** -(mantissa_bits + 1)).all()
    digits = coarse.view(torch.int16) & 1023
    assert (digits % 2 ** (10 - mantissa_bits) == 0).all()


def test_steps_keep_all_digits_unless_told_and_never_become_nothing():
    steps = torch.tensor([2.0**-24, 3 * 2.0**-24, 0.0123, 7.7]).half()
    assert torch.equal(coarse_steps(steps, 0), steps)
    assert (coarse_steps(steps, 1) > 0).all()
