"""What a run's printed training losses say: whether two runs are one, and how fast they fall."""

import hashlib
import math
from collections.abc import Sequence

from verifier.claims.training_log import TrainPoint

MIN_POINTS = 4


def losses_sha256(points: Sequence[TrainPoint]) -> str | None:
    """A hash over every step with its training loss; None where fewer than two were printed."""
    if len(points) < 2:
        return None
    text = "".join(f"{point.step}:{point.train_loss!r}\n" for point in points)
    return hashlib.sha256(text.encode()).hexdigest()


def loss_per_log_step(points: Sequence[TrainPoint]) -> float | None:
    """Least-squares slope of the loss over ln(step) in the later half of the steps, in nats.

    Training losses of language models fall about linearly in the logarithm of the step over a
    factor of two or so; further away the line says nothing.
    """
    later = [p for p in points if 2 * p.step >= points[-1].step and p.step > 0]
    if len(later) < MIN_POINTS:
        return None
    logs = [math.log(p.step) for p in later]
    mean_log = math.fsum(logs) / len(later)
    mean_loss = math.fsum(p.train_loss for p in later) / len(later)
    spread = math.fsum((x - mean_log) ** 2 for x in logs)
    if spread == 0:
        return None
    joint = math.fsum(
        (x - mean_log) * (p.train_loss - mean_loss) for x, p in zip(logs, later, strict=True)
    )
    slope = joint / spread
    return slope if math.isfinite(slope) else None
