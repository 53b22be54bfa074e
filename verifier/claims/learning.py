"""TrainingLog → Learning: what a report draws of how a run learned."""

from verifier.claims.training_log import TrainingLog, TrainPoint
from verifier.schemas.learning_json import Learning

MAX_POINTS = 100


def learning_of(training: TrainingLog, scored: TrainingLog) -> Learning | None:
    """The loss curve and the scores about quantisation; None where the logs tell neither.

    Args:
        training: what the training process printed.
        scored: what the process printed that evaluated; the same log where one did both.
    """
    raw = _raw_score(training)
    start_line = raw[0] if raw and scored is training else 0
    learning = Learning(
        points=tuple((point.step, point.train_loss) for point in _thinned(training.train_points)),
        raw_bpb=raw[1] if raw else None,
        quantised_bpb=_quantised_bpb(scored, start_line),
    )
    return None if learning == Learning() else learning


def _thinned(points: tuple[TrainPoint, ...]) -> tuple[TrainPoint, ...]:
    """At most MAX_POINTS evenly spaced points, with the first and the last."""
    if len(points) <= MAX_POINTS:
        return points
    last = len(points) - 1
    return tuple(points[round(k * last / (MAX_POINTS - 1))] for k in range(MAX_POINTS))


def _raw_score(log: TrainingLog) -> tuple[int, float] | None:
    """Line and BPB of a score before quantisation, else of the last validation in training."""
    before = [(m.line, m.val_bpb) for m in log.diagnostics if "quantized" not in m.label.split()]
    trained = [(p.line, p.val_bpb) for p in log.validation_points]
    known = [(line, bpb) for line, bpb in before or trained[-1:] if bpb is not None]
    return known[-1] if known else None


def _quantised_bpb(log: TrainingLog, after_line: int) -> float | None:
    scored = sorted((*log.diagnostics, *log.finals), key=lambda metric: metric.line)
    later = (m.val_bpb for m in scored if m.line > after_line and m.val_bpb is not None)
    return next(later, None)
