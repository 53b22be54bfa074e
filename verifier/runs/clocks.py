"""The ledger of phases: our own clock, cut at the lines that mark a script's progress.

Where training and evaluation are processes of their own, their ends are ours and no line moves
them; and no token can be scored before the validation data is opened, so that this moment, which
the kernel tells us, ends evaluation's loading and compiling.
"""

from array import array
from dataclasses import dataclass

from verifier.schemas.run_record_json import Phases
from verifier.training_log import TrainingLog, TrainPoint, ValidationPoint

Seconds = float | None
ClockedPoint = TrainPoint | ValidationPoint


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """Seconds since a seed's launch."""

    line_seconds: "array[float]"
    """Of each line of output, in order, over both processes where there are two."""
    end: float
    training_end: Seconds = None
    """When the training process was gone; None where one process does everything."""
    evaluation_begin: Seconds = None
    first_look: Seconds = None
    """When validation data was first opened in evaluation."""

    def at(self, line: int | None) -> Seconds:
        """When a line of output came."""
        known = line is not None and line <= len(self.line_seconds)
        return self.line_seconds[line - 1] if line is not None and known else None


def phases(timeline: Timeline, training: TrainingLog, evaluation: TrainingLog) -> Phases:
    """Cut our time; a phase that nothing marks is None."""
    first, last, packed = _marks(training, timeline)
    scored = timeline.at(evaluation.headline.line if evaluation.headline else None)
    if timeline.training_end is None:
        serialised, begin, load = packed, packed, None
    else:
        first, last = (0.0, timeline.training_end) if first is None else (first, last)
        serialised, begin = timeline.training_end, timeline.evaluation_begin
        load = _between(begin, timeline.first_look)
        if load is not None and _between(timeline.first_look, scored) is not None:
            begin = timeline.first_look
        else:
            load = None
    start, loop = first, _between(first, last)
    validation = None
    if loop is not None and timeline.training_end is None:
        validation = _validation(timeline, training)
        loop = max(loop - (validation or 0.0), 0.0)
    if loop is not None and start is not None:
        # The first step line stands at that step's end, so its own time is training too; what the
        # script says of it counts no further than our clock allows.
        said = training.train_points[0].train_seconds if training.train_points else None
        loop += min(max(said or 0.0, 0.0), start)
    return Phases(
        start=start,
        training=loop,
        validation=validation,
        calibration=_calibration(timeline, training),
        serialise=_between(last, serialised),
        load=load,
        evaluation=_between(begin, scored),
        finish=_between(scored, timeline.end),
    )


def _marks(log: TrainingLog, timeline: Timeline) -> tuple[Seconds, Seconds, Seconds]:
    """When the first step, the end of training and the packed artifact were told."""
    packed = log.lines.get("model_bytes")
    first = log.train_points[0].line if log.train_points else None
    ends = [p.line for p in log.train_points] + [p.line for p in log.validation_points]
    ends += [log.lines["train_seconds"]] if "train_seconds" in log.lines else []
    before = [line for line in ends if packed is None or line < packed]
    return timeline.at(first), timeline.at(max(before, default=None)), timeline.at(packed)


def validations_in_training(log: TrainingLog) -> tuple[tuple[ClockedPoint, ValidationPoint], ...]:
    """Each validation among the training steps, and the line of the loop before it."""
    packed = log.lines.get("model_bytes")
    told: list[ClockedPoint] = sorted(
        (*log.train_points, *log.validation_points), key=lambda point: point.line
    )
    return tuple(
        (before, point)
        for before, point in zip(told, told[1:], strict=False)
        if isinstance(point, ValidationPoint) and (packed is None or point.line < packed)
    )


def _validation(timeline: Timeline, log: TrainingLog) -> Seconds:
    """What validations took among the training steps; the rules' training clock stops for them.

    Steps that no line told may lie before a validation's line: what the script's training clock
    went on meanwhile stays training.
    """
    passed = []
    for before, point in validations_in_training(log):
        seconds = _between(timeline.at(before.line), timeline.at(point.line))
        if seconds is not None:
            steps_seconds = (point.train_seconds or 0.0) - (before.train_seconds or 0.0)
            passed.append(min(max(seconds - steps_seconds, 0.0), seconds))
    return sum(passed) if passed else None


def _calibration(timeline: Timeline, log: TrainingLog) -> Seconds:
    """Between the line that times calibration and the line before it."""
    told = log.lines.get("calibration_seconds")
    return _between(timeline.at(told - 1), timeline.at(told)) if told and told > 1 else None


def _between(begin: Seconds, end: Seconds) -> Seconds:
    return end - begin if begin is not None and end is not None and end >= begin else None
