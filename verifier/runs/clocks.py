"""The ledger of phases: our own clock, cut at the lines that mark a script's progress.

Where training and evaluation are processes of their own, their ends are ours and no line moves
them; and no token can be scored before the validation data is opened, so that this moment, which
the kernel tells us, ends evaluation's loading and compiling.
"""

from array import array
from dataclasses import dataclass, replace

from verifier.claims.training_log import TrainingLog, TrainPoint, ValidationPoint
from verifier.schemas.run_record_json import Phases

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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Marks:
    """The moments at which phases meet."""

    first_step: Seconds
    training_end: Seconds
    packed: Seconds
    evaluation_begin: Seconds
    first_look: Seconds
    """None where it does not lie between evaluation's begin and its score."""
    scored: Seconds


def phases(timeline: Timeline, training: TrainingLog, evaluation: TrainingLog) -> Phases:
    """Cut our time; a phase that nothing marks is None."""
    marks = _marks(timeline, training, evaluation)
    loop = _between(marks.first_step, marks.training_end)
    is_whole = timeline.training_end is None
    validation = _validation(timeline, training) if is_whole and loop is not None else None
    scoring_begin = marks.evaluation_begin if marks.first_look is None else marks.first_look
    return Phases(
        start=marks.first_step,
        training=None if loop is None else _training(marks, loop - (validation or 0.0), training),
        validation=validation,
        calibration=_calibration(timeline, training),
        serialise=_between(marks.training_end, marks.packed),
        load=_between(marks.evaluation_begin, marks.first_look),
        evaluation=_between(scoring_begin, marks.scored),
        finish=_between(marks.scored, timeline.end),
    )


def _marks(timeline: Timeline, training: TrainingLog, evaluation: TrainingLog) -> _Marks:
    packed = training.lines.get("model_bytes")
    first = training.train_points[0].line if training.train_points else None
    points: list[ClockedPoint] = [*training.train_points, *training.validation_points]
    told = [point.line for point in points]
    told += [training.lines["train_seconds"]] if "train_seconds" in training.lines else []
    last = max((line for line in told if packed is None or line < packed), default=None)
    by_lines = _Marks(
        first_step=timeline.at(first),
        training_end=timeline.at(last),
        packed=timeline.at(packed),
        evaluation_begin=timeline.at(packed),
        first_look=None,
        scored=timeline.at(evaluation.headline.line if evaluation.headline else None),
    )
    return by_lines if timeline.training_end is None else _with_two_processes(by_lines, timeline)


def _with_two_processes(marks: _Marks, timeline: Timeline) -> _Marks:
    """Training that marks no step lasts from launch to end."""
    begin, look = timeline.evaluation_begin, timeline.first_look
    is_unmarked = marks.first_step is None
    is_look = _between(begin, look) is not None and _between(look, marks.scored) is not None
    return replace(
        marks,
        first_step=0.0 if is_unmarked else marks.first_step,
        training_end=timeline.training_end if is_unmarked else marks.training_end,
        packed=timeline.training_end,
        evaluation_begin=begin,
        first_look=look if is_look else None,
    )


def _training(marks: _Marks, loop: float, log: TrainingLog) -> float:
    """The loop and its first step, whose line stands at that step's end.

    What the script says of that step counts no further than our clock allows.
    """
    said = log.train_points[0].train_seconds if log.train_points else None
    return max(loop, 0.0) + min(max(said or 0.0, 0.0), marks.first_step or 0.0)


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
