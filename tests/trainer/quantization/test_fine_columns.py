import torch

from trainer.quantization.fine_columns import finest_columns, put_columns_back, with_fine_columns
from trainer.quantization.gptq import nearest_codes, row_grid, sigma_steps
from trainer.recipe import QuantizationOptions

OPTIONS = QuantizationOptions(awq_lite_group_size=4, awq_lite_group_top_k=2)


def test_the_columns_with_large_inputs_and_weights_are_found_in_any_matrix():
    matrices = {name: torch.ones(3, 12) for name in ("first", "second", "unknown")}
    matrices["first"][:, 4:8] = 3.0
    loud = torch.ones(12)
    loud[8:] = 16.0
    hessians = {"first": torch.eye(12), "second": torch.diag(loud)}
    assert finest_columns(matrices, hessians, OPTIONS) == {
        "second": [slice(8, 12)],
        "first": [slice(4, 8)],
    }


def test_fine_columns_have_smaller_steps_up_to_the_same_end():
    torch.manual_seed(0)
    matrix = torch.randn(5, 12)
    step, fine_step = (sigma_steps(matrix, bits, 3.0) for bits in (4, 8))
    grid = with_fine_columns(row_grid(step, 4), fine_step, 12, [slice(4, 8)])
    codes = nearest_codes(matrix, grid)
    error = (codes * grid.steps - matrix).abs()
    assert error[:, 4:8].max() < 0.1 * error.max()
    assert codes.abs().max() > 7 >= torch.cat((codes[:, :4], codes[:, 8:]), dim=1).abs().max()


def test_columns_stored_apart_come_back_in_their_place():
    state = {"a": torch.zeros(2, 6), "a:columns:2": torch.ones(2, 2), "b": torch.zeros(1)}
    put_columns_back(state)
    assert set(state) == {"a", "b"}
    assert state["a"].tolist() == [[0, 0, 1, 1, 0, 0]] * 2
