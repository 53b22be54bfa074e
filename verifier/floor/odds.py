"""How much a score speaks against honesty: e-values, as natural logarithms.

A number that is never negative and on average at most 1 for every honest predictor is an e-value:
honest code makes it reach 1/α with probability at most α (Markov's inequality), and a product that
is one at every step reaches it at any step with no more (Ville's). docs/floor.md derives both.
"""

import numpy as np
from numpy.typing import NDArray

STAKES = tuple(2.0**-k for k in range(11))
"""λ: the share of one's wealth that is bet on each token; small ones find rare excess."""
MAX_LOG_ODDS = 1e9
"""Stands for infinity in files, which hold finite numbers."""


def total_log_odds(floor_nats: float, loss_nats: float) -> float:
    """Nats of Q/P of the whole tape: how many nats a claimed code length lies below −ln P."""
    return float(np.clip(floor_nats - loss_nats, -MAX_LOG_ODDS, MAX_LOG_ODDS))


def betting_log_odds(log_ratios: NDArray[np.float64]) -> float:
    """Nats of the most that bets on e_i = q_i/p_i ever won, started with wealth 1.

    The wealth is the mean over λ of Π (1 + λ (e_i − 1)). λ = 1 alone is the test of the total.

    Args:
        log_ratios: (N,) ln q_i/p_i, in the order of the tape.
    """
    wealth = np.full(len(log_ratios), -np.inf)
    for stake in STAKES:
        kept = np.log1p(-stake) if stake < 1 else -np.inf
        steps = np.logaddexp(kept, np.log(stake) + log_ratios)
        wealth = np.logaddexp(wealth, steps.cumsum())
    most = float(wealth.max(initial=0.0)) - float(np.log(len(STAKES)))
    return min(max(most, 0.0), MAX_LOG_ODDS)
