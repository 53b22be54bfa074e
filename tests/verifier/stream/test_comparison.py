import numpy as np
import pytest

from verifier.stream.comparison import compared
from verifier.stream.pieces import Piece

PIECES = [Piece(given_from=b, begin=b, end=b + 10) for b in (40, 0, 20)]
LOSSES = np.random.default_rng(0).exponential(4, 50).astype(np.float32)
STREAMED = np.concatenate([LOSSES[p.begin : p.end] for p in PIECES]).astype(np.float64)


def test_equal_losses_differ_by_nothing():
    told = compared(STREAMED, PIECES, LOSSES)
    assert told["num_compared"] == 30 and told["largest_difference_nats"] == 0
    assert told["evaluated_nats"] == pytest.approx(STREAMED.mean())


def test_a_gain_is_told_with_its_spread_over_pieces():
    told = compared(STREAMED + np.repeat([0.1, 0.2, 0.3], 10), PIECES, LOSSES)
    assert told["gain_nats"] == pytest.approx(0.2, abs=1e-6)
    assert told["gain_error_nats"] == pytest.approx(0.1 / 3**0.5, rel=1e-4)
    assert told["largest_gain_nats"] == pytest.approx(0.3, abs=1e-5)


def test_a_tail_that_evaluation_leaves_out_is_not_compared():
    told = compared(STREAMED, PIECES, LOSSES[:45])
    assert told["num_compared"] == 25 and told["largest_difference_nats"] == 0
    assert compared(STREAMED, PIECES, None) == compared(STREAMED, PIECES, LOSSES[:0]) == {}
