import torch

from trainer.quantization.rounding import restore_tensor, round_rows, store_tensor


def test_rounding_is_off_by_half_a_step_at_most_where_nothing_is_clipped():
    torch.manual_seed(0)
    matrix = torch.empty(4, 500).uniform_(-3.0, 3.0)
    matrix[:, 0] = 3.0  # so that the quantile is the largest value
    matrix[:, 1] = 3.0
    codes, scale = round_rows(matrix)
    error = (codes.float() * scale.float()[:, None] - matrix).abs()
    assert (error <= 0.51 * scale.float()[:, None] + 3.0 * 2**-11).all()


def test_rows_below_one_share_the_step_of_one():
    _, scale = round_rows(torch.full((3, 10), 0.01))
    assert torch.equal(scale, torch.full((3,), 1.0 / 127.0).half())


def test_big_matrices_become_codes_and_small_tensors_stay_floats():
    big = store_tensor(torch.randn(300, 256), keep_exact=False)
    small = store_tensor(torch.randn(256, 256), keep_exact=False)
    control = store_tensor(torch.randn(8), keep_exact=True)
    assert big.values.dtype == torch.int8 and big.num_bytes == 300 * 256 + 300 * 2
    assert small.values.dtype == torch.float16 and small.scale is None
    assert control.values.dtype == torch.float32


def test_the_original_type_comes_back():
    for dtype in (torch.float32, torch.bfloat16):
        stored = store_tensor(torch.randn(300, 256).to(dtype), keep_exact=False)
        assert restore_tensor(stored).dtype == dtype
