import torch

from trainer.quantization.low_rank import (
    LEFT,
    RIGHT,
    add_low_rank_parts,
    low_rank_parts,
    store_asymmetric,
    thin_factors,
)
from trainer.quantization.rounding import dequantize_state
from trainer.recipe import QuantizationOptions

OPTIONS = QuantizationOptions(lqer_rank=2, lqer_top_k=2, lqer_asym_group=16)


def test_the_product_is_the_nearest_of_its_rank():
    torch.manual_seed(0)
    error = torch.randn(30, 3) @ torch.randn(3, 40)
    left, right = thin_factors(error, 2)
    sizes = torch.linalg.svdvals(error)
    torch.testing.assert_close((error - left @ right).norm(), sizes[2])
    left, right = thin_factors(error, 3)
    torch.testing.assert_close(left @ right, error, atol=1e-4, rtol=0)


def test_codes_use_all_values_of_their_bits():
    torch.manual_seed(0)
    rows = torch.randn(50, 200)
    for bits, half in ((2, 2), (4, 8)):
        stored = store_asymmetric(rows, bits)
        assert (int(stored.values.min()), int(stored.values.max())) == (-half, half - 1)
        error = stored.values * stored.scale.float()[:, None] - rows
        assert (error.abs() <= 1.01 * stored.scale.float()[:, None]).all()
    assert not store_asymmetric(torch.zeros(2, 4), 2).values.any()


def test_the_largest_errors_get_products_and_move_towards_nothing():
    torch.manual_seed(0)
    errors = {name: size * torch.randn(64, 1) @ torch.randn(1, 48) for name, size in SIZES.items()}
    errors["odd"] = 100 * torch.randn(64, 5)  # its factor cannot be cut into groups of 16
    parts = low_rank_parts(errors, OPTIONS)
    assert set(parts) == {name + side for name in ("large", "middle") for side in (LEFT, RIGHT)}
    state = {name: torch.zeros_like(error) for name, error in errors.items()}
    state |= dequantize_state(parts)
    add_low_rank_parts(state)
    assert set(state) == set(errors) and not state["small"].any()
    assert (errors["large"] - state["large"]).norm() < 0.8 * errors["large"].norm()


SIZES = {"small": 1.0, "large": 3.0, "middle": 2.0}
