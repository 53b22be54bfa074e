from dataclasses import replace
from functools import partial

import pytest
import torch

from trainer.artifact import pack_artifact
from trainer.errors import RecipeError
from trainer.fitted_artifact import fit_artifact
from trainer.quantization.calibrated_rounding import quantize_calibrated
from trainer.recipe import QuantizationOptions

FITTED = QuantizationOptions(gptq_enabled=True, matrix_bits=6, code_packing="rans")


@pytest.fixture(scope="module")
def store_heavy():
    """Stores weights with heavier tails than Gaussian ones, as trained weights have."""
    torch.manual_seed(0)
    spread = torch.rand(1000, 1) * (0.5 + torch.rand(1000))
    state = {"blocks.0.mlp.fc.weight": spread * torch.randn(1000, 1000)}
    return partial(quantize_calibrated, state, {})


@pytest.mark.parametrize("budget_bytes", [200_000, 350_000, 600_000])
def test_clips_are_found_that_fill_a_budget_and_bytes_are_those_foretold(store_heavy, budget_bytes):
    fitted = fit_artifact(store_heavy, FITTED, budget_bytes)
    size = len(fitted.artifact.compressed)
    assert 0.999 * budget_bytes <= size <= budget_bytes
    assert fitted.predicted_bytes == pytest.approx(size, rel=0.003)
    assert (fitted.clip_factor < 1) == (budget_bytes == 600_000)  # as said, 0.42 MB


def test_a_budget_that_is_too_large_is_left_unfilled(store_heavy):
    fitted = fit_artifact(store_heavy, FITTED, 2_000_000)
    assert fitted.clip_factor == pytest.approx(4.0 / 12.85)
    size = len(fitted.artifact.compressed)
    assert size < 700_000 and fitted.predicted_bytes == pytest.approx(size, rel=0.02)


def test_a_budget_that_no_clips_lead_to_is_refused(store_heavy):
    with pytest.raises(
        RecipeError,
        match="leaves 3,000 bytes .* no clips lead to: the least was .* too many",
    ):
        fit_artifact(store_heavy, FITTED, 3000)


def test_a_budget_is_kept_to_the_byte(store_heavy):
    """What takes all of it fits; of one byte less it is one too many."""
    budget = pack_artifact(store_heavy(FITTED), FITTED).num_bytes
    assert fit_artifact(store_heavy, FITTED, budget).clip_factor == 1.0
    fitted = fit_artifact(store_heavy, FITTED, budget - 1)
    assert fitted.clip_factor > 1.0 and fitted.artifact.num_bytes < budget


def test_a_budget_below_nothing_is_refused_in_words_too(store_heavy):
    with pytest.raises(RecipeError, match="which no clips lead to"):
        fit_artifact(store_heavy, FITTED, -150_000)


def test_sizes_that_jump_over_a_budget_lose_no_run(store_heavy):
    """Between two clips the artifact falls from above the budget to far below it."""

    def store(options):
        stored = store_heavy(options)
        wide = options.matrix_clip_sigmas > 13.0
        return {n: replace(t, values=t.values * (not wide)) for n, t in stored.items()}

    fitted = fit_artifact(store, FITTED, 400_000)
    assert fitted.clip_factor > 13.0 / 12.85
    assert len(fitted.artifact.compressed) < 0.9 * 400_000
