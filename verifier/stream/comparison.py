"""Our losses beside those that the submission's own evaluation wrote for the same targets."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from verifier.runs.scores import finite
from verifier.stream.pieces import Piece, loss_places


def compared(
    streamed: NDArray[np.float64],  # (N,) nats, piece after piece
    pieces: Sequence[Piece],
    evaluated: NDArray[np.float32] | None,  # (M,) nats, in the order of the tape
) -> dict[str, float | int | None]:
    """The fields of a StreamRecord that say how far both agree; a tail may be left out."""
    places = loss_places(pieces)
    is_known = places < (0 if evaluated is None else len(evaluated))
    if evaluated is None or not is_known.any():
        return {}
    own = evaluated[np.minimum(places, len(evaluated) - 1)].astype(np.float64)
    gains = np.where(is_known, streamed - own, 0.0)
    begins = np.cumsum([0, *(piece.num_targets for piece in pieces[:-1])])
    sizes = np.abs(gains[is_known])
    return {
        "num_compared": int(is_known.sum()),
        "evaluated_nats": finite(float(own[is_known].mean())),
        "gain_nats": finite(float(gains[is_known].mean())),
        "gain_error_nats": finite(
            _standard_error(np.add.reduceat(gains, begins), np.add.reduceat(is_known, begins))
        ),
        "largest_gain_nats": finite(float(gains.max())),
        "largest_difference_nats": finite(float(sizes.max())),
        "median_difference_nats": finite(float(np.median(sizes))),
    }


def _standard_error(
    sums: NDArray[np.float64],  # (K,) of each piece's gains
    counts: NDArray[np.int64],  # (K,) targets in them
) -> float:
    """Of the mean gain of a target, because gains within a piece are not independent.

    The ratio estimator of cluster sampling: residuals of the pieces' sums around the mean.
    """
    if len(sums) < 2:
        return math.inf
    residuals = sums - counts * (sums.sum() / counts.sum())
    spread = math.sqrt(float((residuals**2).sum()) * len(sums) / (len(sums) - 1))
    return spread / float(counts.sum())
