import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from trainer.quantization.calibrated_rounding import quantize_calibrated
from trainer.quantization.gptq import nearest_codes, row_grid, sigma_steps
from trainer.quantization.matrix_coding import encode_matrices
from trainer.quantization.rounding import StoredTensor
from trainer.quantization.size_law import (
    WIDEST_FACTOR,
    clip_factor,
    code_spreads,
    gaussian_code_bits,
    rounded_gaussian,
    with_clips_times,
)
from trainer.recipe import QuantizationOptions


def entropy_bits(codes):
    shares = np.unique(codes.numpy(), return_counts=True)[1] / codes.numel()
    return float(-(shares * np.log2(shares)).sum())


@pytest.mark.parametrize(("sigmas", "bits"), [(12.85, 6), (3.0, 6), (20.0, 8), (14.0, 7), (4.0, 3)])
def test_rounded_gaussian_weights_have_the_entropy_that_is_foretold(sigmas, bits):
    torch.manual_seed(0)
    matrix = torch.randn(200, 2000)
    codes = nearest_codes(matrix, row_grid(sigma_steps(matrix, bits, sigmas), bits))
    assert gaussian_code_bits(sigmas, bits) == pytest.approx(entropy_bits(codes), abs=0.003)


@pytest.mark.parametrize(("sigmas", "bits"), [(12.85, 6), (11.5, 6), (15, 7), (20, 8)])
def test_where_steps_are_fine_it_is_bits_less_the_clips_logarithm_and_a_constant(sigmas, bits):
    exact = math.log2(math.sqrt(2 * math.pi * math.e) * (2 ** (bits - 1) - 1) / sigmas)
    assert gaussian_code_bits(sigmas, bits) == pytest.approx(exact, abs=0.015)
    assert exact == pytest.approx(bits - math.log2(sigmas) + 1.047, abs=0.05)


def test_an_octave_of_clip_is_a_bit_of_every_code():
    assert clip_factor(1000, num_codes=8000) == 2.0
    assert clip_factor(-1000, num_codes=8000) == 0.5
    assert clip_factor(1000, num_codes=0) == clip_factor(10**9, num_codes=8000) == WIDEST_FACTOR
    assert gaussian_code_bits(6.0, 6) - gaussian_code_bits(12.0, 6) == pytest.approx(1, abs=0.01)


def test_every_clip_is_widened_and_none_stays_none():
    options = QuantizationOptions(mlp_clip_sigmas=11.5, embed_clip_sigmas=14.0)
    wider = with_clips_times(options, 2.0)
    assert (wider.mlp_clip_sigmas, wider.embed_clip_sigmas) == (23.0, 28.0)
    assert (wider.matrix_clip_sigmas, wider.attn_clip_sigmas) == (25.7, 0.0)
    assert with_clips_times(wider, 0.5) == replace(options)


@pytest.mark.parametrize("deviation", [0.2, 1.0, 5.0])
def test_a_rounded_gaussian_is_what_is_drawn(deviation):
    torch.manual_seed(0)
    codes = (deviation * torch.randn(1_000_000)).round()
    spread, bits = rounded_gaussian(deviation)
    assert spread == pytest.approx(float(codes.std()), rel=0.01)
    assert bits == pytest.approx(entropy_bits(codes), abs=0.01)


def coded_bytes(stored):
    return len(encode_matrices([stored["m"].values.numpy()]).words)


def related(rows=4000, columns=64):
    """A matrix whose rows and columns differ, and a Hessian of inputs that move together."""
    torch.manual_seed(0)
    matrix = (0.5 + torch.rand(columns)) * torch.randn(rows, columns)
    matrix[::2] = matrix[:1] + 0.5 * matrix[::2]  # half alike, as rows of rare tokens are
    inputs = torch.randn(2000, columns) @ (torch.eye(columns) + 0.3 * torch.randn(columns, columns))
    return matrix, inputs.T @ inputs / 2000


@pytest.mark.parametrize("is_calibrated", [True, False])
@pytest.mark.parametrize("factor", [0.8, 1.1, 1.25])
def test_codes_tell_what_other_clips_would_save(factor, is_calibrated):
    matrix, hessian = related()
    options = QuantizationOptions(gptq_enabled=True, matrix_bits=6)
    hessians = {"m": hessian} if is_calibrated else {}
    stored, other = (
        quantize_calibrated({"m": matrix}, hessians, with_clips_times(options, times))
        for times in (1.0, factor)
    )
    foretold = coded_bytes(stored) - code_spreads(stored, options).saved_bytes(factor)
    assert foretold == pytest.approx(coded_bytes(other), rel=0.01)


@pytest.mark.parametrize("shape", [(0,), (70_000, 1), (1, 70_000), (300, 300)])
def test_matrices_of_nothing_are_foretold_to_stay_it(shape):
    stored = {} if shape == (0,) else {"m": zeros(shape)}
    spreads = code_spreads(stored, QuantizationOptions())
    assert spreads.saved_bytes(2.0) == spreads.saved_bytes(0.5) == 0.0


def zeros(shape):
    codes = torch.zeros(shape, dtype=torch.int8)
    return StoredTensor(values=codes, scale=torch.ones(shape[0]).half(), dtype=torch.float32)
