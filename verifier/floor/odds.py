"""How much a score speaks against honesty: e-values, as natural logarithms.

A number that is never negative and on average at most 1 for every honest predictor is an e-value:
honest code makes it reach 1/α with probability at most α (Markov's inequality), and a product that
is one at every step reaches it at any step with no more (Ville's). docs/floor.md derives both.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STAKES = tuple(2.0**-k for k in range(11))
"""λ: the share of one's wealth that is bet on each token; small ones find rare excess."""
MAX_LOG_ODDS = 1e9
"""Stands for infinity in files, which hold finite numbers."""
MAX_PATH_POINTS = 200


def total_log_odds(floor_nats: float, loss_nats: float) -> float:
    """Nats of Q/P of the whole tape: how many nats a claimed code length lies below −ln P."""
    return float(np.clip(floor_nats - loss_nats, -MAX_LOG_ODDS, MAX_LOG_ODDS))


@dataclass(frozen=True, kw_only=True, slots=True)
class Bets:
    """What a gambler won who bet on every token, started with wealth 1."""

    odds_nats: float
    """The logarithm of the most that he ever owned."""
    path: tuple[tuple[int, float], ...]
    """(tokens, nats): the most that he owned in each stretch of the tape, to draw."""


def bet(log_ratios: NDArray[np.float64]) -> Bets:
    """Bet on e_i = q_i/p_i, token by token.

    The wealth is the mean over λ of Π (1 + λ (e_i − 1)). λ = 1 alone is the test of the total.

    Args:
        log_ratios: (N,) ln q_i/p_i, in the order of the tape; N > 0.
    """
    wealth = np.full(len(log_ratios), -np.inf)
    for stake in STAKES:
        kept = np.log1p(-stake) if stake < 1 else -np.inf
        steps = np.logaddexp(kept, np.log(stake) + log_ratios)
        wealth = np.logaddexp(wealth, steps.cumsum())
    wealth = np.clip(wealth - np.log(len(STAKES)), -MAX_LOG_ODDS, MAX_LOG_ODDS)
    return Bets(odds_nats=max(0.0, float(wealth.max())), path=_drawn(wealth))


def _drawn(wealth: NDArray[np.float64]) -> tuple[tuple[int, float], ...]:
    size = -(-len(wealth) // MAX_PATH_POINTS)
    begins = np.arange(0, len(wealth), size)
    ends = np.minimum(begins + size, len(wealth))
    return tuple(zip(ends.tolist(), np.maximum.reduceat(wealth, begins).tolist(), strict=True))
