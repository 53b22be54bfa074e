"""Log text → TrainingLog: every figure that public training scripts print, with its line number.

Read line by line, so that the run harness can feed a live log. A script printed into the log
is skipped; a line that looks like a final metric and cannot be read is kept in `unread`, never
dropped in silence. What a log says is a claim.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import add
from types import MappingProxyType
from typing import Any

from verifier.claims import log_lines
from verifier.claims.log_lines import FinalMetric, StepLine
from verifier.intake.submission import SubmissionFile

MAX_LINE_CHARACTERS = 4_096
MAX_UNREAD_LINES = 50
MAX_HYPERPARAMETERS = 1_000
MAX_SERIES_POINTS = 200_000
_COUNT = re.compile(r"\d{1,18}")
_BEFORE_TRAINING = ("seed", "world_size", "train_shards", "val_tokens")
_ALIAS_WINDOW = 16  # final lines looked back for the same figures
# Where a figure is printed more than once the last one counts, but for these two.
_COMBINED: Mapping[str, Callable[[Any, Any], Any]] = {
    "calibration_seconds": max,
    "deserialize_seconds": add,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainPoint:
    """The training loss at one step."""

    line: int
    step: int
    planned_steps: int
    train_loss: float  # nats a token
    train_seconds: float | None  # since the loop's start; to 6 s where the log prints minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationPoint:
    """A validation during training."""

    line: int
    step: int
    planned_steps: int
    val_loss: float | None
    val_bpb: float | None
    train_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseTime:
    """One `phase:<name> seconds:<s>` line of a script that keeps a ledger of its own time."""

    line: int
    name: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadLine:
    """A line that looks like a final metric and could not be read."""

    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingLog:
    """What one log says; None where it says nothing. Sizes in bytes, times in seconds."""

    seed: int | None = None
    world_size: int | None = None
    train_shards: int | None = None
    val_tokens: int | None = None
    steps: int | None = None
    planned_steps: int | None = None
    train_seconds: float | None = None  # the loop's own clock when it stopped
    model_bytes: int | None = None
    code_bytes: int | None = None  # as counted: compressed where both are printed
    code_bytes_uncompressed: int | None = None
    total_bytes: int | None = None
    codec: str | None = None
    calibration_seconds: float | None = None  # the longest one printed: they include each other
    calibration_data: str | None = None  # what the quantiser is calibrated on, as printed
    serialize_seconds: float | None = None
    deserialize_seconds: float | None = None  # summed: each load counts
    compile_warmup_seconds: float | None = None
    eval_seconds: float | None = None  # of the headline, without compile warm-up
    peak_memory_mib: int | None = None
    lines: Mapping[str, int]  # field name → the line its figure stands on
    hyperparameters: Mapping[str, str]
    finals: tuple[FinalMetric, ...]  # in the log's order, diagnostics apart
    diagnostics: tuple[FinalMetric, ...]
    phases: tuple[PhaseTime, ...]
    train_points: tuple[TrainPoint, ...]
    validation_points: tuple[ValidationPoint, ...]
    unread: tuple[UnreadLine, ...]
    num_runs: int = 1  # runs appended to one file; only the last one is told here
    num_lines: int = 0

    @property
    def headline(self) -> FinalMetric | None:
        """The last final metric that is no diagnostic: what a log's author claims."""
        return self.finals[-1] if self.finals else None


def read_training_log(log: SubmissionFile | str) -> TrainingLog:
    """Read a whole log, numbering lines right where the middle of a long file was left out."""
    reader = TrainingLogReader()
    if isinstance(log, str):
        text, cut_after_line, lines_cut = log, 0, 0
    else:
        text, cut_after_line, lines_cut = log.text or "", log.cut_after_line, log.lines_cut
    for count, line in enumerate(text.split("\n"), start=1):
        reader.feed(line)
        if count == cut_after_line:
            reader.skip_lines(lines_cut)
    return reader.result()


def _replace_total(values: dict[str, Any], lines: dict[str, int]) -> None:
    """A model packed after the total was printed: the total is of an earlier packing."""
    del values["total_bytes"], lines["total_bytes"]
    if "code_bytes" in values:
        values["total_bytes"] = values["model_bytes"] + values["code_bytes"]
        lines["total_bytes"] = lines["model_bytes"]


def _timed_headline(finals: Sequence[FinalMetric]) -> FinalMetric | None:
    """The final line that times the headline: itself, or the line whose figures it repeats."""
    recent = finals[-_ALIAS_WINDOW:]
    timed = [metric for metric in reversed(recent) if metric.eval_seconds is not None]
    return next((metric for metric in timed if metric.agrees_with(recent[-1])), None)


class TrainingLogReader:
    """Reads a log line by line; result() may be asked for at any time."""

    def __init__(self) -> None:
        self._line = 0
        self._in_source = False
        self._in_dump = False
        self._num_runs = 1
        self._hyperparameters: dict[str, str] = {}
        self._values: dict[str, int | float | str] = {}
        self._lines: dict[str, int] = {}
        self._start_run()

    def _start_run(self) -> None:
        """Forget what an earlier run in the same file measured; its settings were printed anew."""
        for name in set(self._values).difference(_BEFORE_TRAINING):
            del self._values[name], self._lines[name]
        self._finals: list[FinalMetric] = []
        self._other_finals: list[FinalMetric] = []  # in words of the script's own
        self._diagnostics: list[FinalMetric] = []
        self._phases: list[PhaseTime] = []
        self._train_points: list[TrainPoint] = []
        self._validation_points: list[ValidationPoint] = []
        self._unread: list[UnreadLine] = []
        self._validated: dict[int, tuple[float | None, float | None]] = {}  # by step
        self._last_step = 0
        self._sums_up = False

    @property
    def latest(self) -> TrainPoint | None:
        """The last training step seen, for a progress display."""
        return self._train_points[-1] if self._train_points else None

    @property
    def latest_bpb(self) -> float | None:
        """The last BPB seen, final or not, for a progress display."""
        if self._finals:
            return self._finals[-1].val_bpb
        return self._validation_points[-1].val_bpb if self._validation_points else None

    @property
    def has_trained(self) -> bool:
        """Whether the loop was told to be over: by its last planned step, or by its stopping."""
        if self.latest is None:
            return False
        stopped = self._lines.get("train_seconds", 0) > self.latest.line
        return stopped or self.latest.step >= self.latest.planned_steps

    @property
    def has_packed(self) -> bool:
        """Whether the artifact's size was told."""
        return "model_bytes" in self._values

    def setting(self, name: str) -> str | None:
        """A hyperparameter as it was printed."""
        return self._hyperparameters.get(name)

    def skip_lines(self, num_lines: int) -> None:
        """Count lines that will not be fed."""
        self._line += num_lines

    def feed(self, line: str) -> None:
        """Read the next line; never raises, whatever it holds."""
        self._line += 1
        if self._in_source and line[:1] in " \t#":  # most of a script, skipped at no cost
            return
        line = log_lines.without_stamp(line[:MAX_LINE_CHARACTERS].rstrip())
        if not line or self._is_source(line) or self._is_dump(line):
            return
        step = log_lines.read_step(line)
        if step is not None:
            self._add_step(step)
        elif "val_bpb" in line or line.startswith("final"):
            self._add_final(line)
        else:
            self._add_figures(line)
            if "bpb" in line or "BPB" in line:
                self._add_other_final(line)

    def _is_source(self, line: str) -> bool:
        if self._in_source:
            self._in_source = not log_lines.ends_source(line)
        else:
            self._in_source = log_lines.starts_source(line)
        return self._in_source

    def _is_dump(self, line: str) -> bool:
        """Whether the line belongs to a dump of hyperparameters, in either of its two shapes."""
        if line in ("Hyperparameters:", "--- Hyperparameters ---"):
            self._in_dump = True
            return True
        if not self._in_dump:
            return False
        dumped = log_lines.dumped_setting(line)
        self._in_dump = dumped is not None
        settings = [dumped] if dumped is not None else log_lines.assigned_settings(line)
        self._add_settings(settings)
        return bool(settings)

    def _add_settings(self, settings: list[tuple[str, str]]) -> None:
        for name, value in settings:
            if len(self._hyperparameters) < MAX_HYPERPARAMETERS:
                self._hyperparameters[name] = value.strip()
            if name in _BEFORE_TRAINING and _COUNT.fullmatch(value):
                self._set(name, int(value))

    def _add_figures(self, line: str) -> None:
        for name, value in log_lines.read_figures(line).items():
            self._set(name, value)
        self._add_settings(log_lines.named_settings(line))
        phase = log_lines.read_phase(line)
        if phase is not None and len(self._phases) < MAX_SERIES_POINTS:
            self._phases.append(PhaseTime(line=self._line, name=phase[0], seconds=phase[1]))

    def _set(self, name: str, value: int | float | str) -> None:
        if name in _COMBINED and name in self._values:
            value = _COMBINED[name](self._values[name], value)
        self._values[name], self._lines[name] = value, self._line

    def _add_step(self, step: StepLine) -> None:
        if step.step < self._last_step or self._sums_up:
            known = self._validated.get(step.step)
            self._sums_up = known is not None and known == step.validation
            if self._sums_up:  # what was seen is said again, unless the next step is a new one
                return
            self._num_runs += 1
            self._start_run()
        self._last_step = step.step
        self._set("steps", step.step)
        self._set("planned_steps", step.planned_steps)
        if step.train_seconds is not None and step.clock_is_exact:
            self._set("train_seconds", step.train_seconds)
        if len(self._train_points) + len(self._validation_points) < MAX_SERIES_POINTS:
            self._add_point(step)

    def _add_point(self, step: StepLine) -> None:
        if step.validation is not None:
            validation_point = ValidationPoint(
                line=self._line,
                step=step.step,
                planned_steps=step.planned_steps,
                val_loss=step.validation[0],
                val_bpb=step.validation[1],
                train_seconds=step.train_seconds,
            )
            self._validation_points.append(validation_point)
            self._validated[step.step] = step.validation
        elif step.train_loss is not None:
            train_point = TrainPoint(
                line=self._line,
                step=step.step,
                planned_steps=step.planned_steps,
                train_loss=step.train_loss,
                train_seconds=step.train_seconds,
            )
            self._train_points.append(train_point)

    def _add_final(self, line: str) -> None:
        scored_tokens = log_lines.read_scored_tokens(line)
        if scored_tokens is not None:
            self._set("val_tokens", scored_tokens)
        metric = log_lines.read_final(line, self._line)
        if metric is None:
            self._add_other_final(line)
            if log_lines.looks_final(line) and len(self._unread) < MAX_UNREAD_LINES:
                self._unread.append(UnreadLine(line=self._line, text=line[:200]))
        elif metric.is_diagnostic:
            self._diagnostics.append(metric)
        else:
            recent = self._finals[-_ALIAS_WINDOW:]
            repeated = next((other for other in recent if other.agrees_with(metric)), None)
            self._finals.append(metric.repeating(repeated) if repeated else metric)

    def _add_other_final(self, line: str) -> None:
        metric = log_lines.read_other_final(line, self._line)
        if metric is not None and len(self._other_finals) < MAX_SERIES_POINTS:
            self._other_finals.append(metric)

    def _scored(self) -> tuple[list[FinalMetric], list[FinalMetric]]:
        """The final metrics and the diagnostics; the script's own words where it has no others."""
        if self._finals:
            return self._finals, self._diagnostics
        own = [metric for metric in self._other_finals if not metric.is_diagnostic]
        others = [metric for metric in self._other_finals if metric.is_diagnostic]
        return own, self._diagnostics + others

    def result(self) -> TrainingLog:
        """All that was read so far."""
        values, lines = dict[str, Any](self._values), dict(self._lines)
        if lines.get("model_bytes", 0) > lines.get("total_bytes", self._line):
            _replace_total(values, lines)
        finals, diagnostics = self._scored()
        read = {metric.line for metric in finals}
        timed = _timed_headline(finals)
        if timed is not None:
            values["eval_seconds"], lines["eval_seconds"] = timed.eval_seconds, timed.line
        return TrainingLog(
            **values,
            lines=MappingProxyType(lines),
            hyperparameters=MappingProxyType(dict(self._hyperparameters)),
            finals=tuple(finals),
            diagnostics=tuple(diagnostics),
            phases=tuple(self._phases),
            train_points=tuple(self._train_points),
            validation_points=tuple(self._validation_points),
            unread=tuple(unread for unread in self._unread if unread.line not in read),
            num_runs=self._num_runs,
            num_lines=self._line,
        )
