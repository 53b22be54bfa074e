"""The state of one followed run: loops around the present step, events so far, steps left."""

import ast
import itertools
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import replace

from verifier.data_flow.settings import HOLE, Settings
from verifier.data_flow.trace import (
    Calibration,
    Event,
    Loop,
    Oddity,
    Place,
    Report,
    Score,
    Trace,
    Update,
)
from verifier.data_flow.values import (
    CHOSEN,
    COPY,
    DORMANT,
    GRADIENT,
    HINDSIGHT,
    LEAF,
    LOOP,
    LOSS,
    MIXTURE,
    OBJECT,
    SCORE,
    SELF_WEIGHTED,
    TRAINING,
    UNKNOWN,
    VALIDATION,
    Value,
)
from verifier.reading.program import Module

MAX_STEPS = 400_000
MAX_CALL_DEPTH = 30
MAX_EVENTS = 5_000
MAX_TOLD = 300  # expressions looked for in the logs; public scripts have a few
_CALIBRATING = ("calib", "hessian", "gptq", "awq", "activation_stat")


class OutOfStepsError(Exception):
    """The script is longer than we follow."""


class Recorder:
    """Takes down what happens while the script is followed."""

    def __init__(self, modules: Mapping[str, Module], settings: Settings) -> None:
        self.trace = Trace()
        self.settings = settings
        self.modules = modules
        self.module_name = ""
        self.attributes: dict[str, Value] = {}  # by name alone, last one assigned
        self.changing_attributes: set[str] = set()
        self.storage = Value()  # what was written to files and read back
        self.gates: list[frozenset[str]] = []  # token classes that decided we are here
        self.choices: list[tuple[int, set[str]]] = []  # by whole passes' scores: calls, marks
        self.calls: list[ast.AST] = []
        self.call_names: list[str] = []
        self.dormant: list[bool] = []  # by call: whether an expert's strength is zero there
        self.branches: list[int] = []  # those around the present step
        self.deciding: list[set[str]] = []  # the loops whose variables decided on each of them
        self.on_outcome: list[bool] = []  # whether the realised token's probability decided on each
        self.assigned: ast.expr | None = None  # where the value goes that is being made
        self.pending: set[str] | None = None  # marks of the last loss differentiated
        self.step_hooks: dict[str, list[Value]] = {}  # functions that an optimizer's step calls
        self._loops: list[Loop] = []
        self._scored_in: dict[str, tuple[str, frozenset[str]]] = {}  # function and loops by mark
        self._told: dict[ast.expr, bool] = {}
        self._lines = {name: module.text.splitlines() for name, module in modules.items()}
        self._numbers = itertools.count()
        self._steps = 0

    @property
    def _function(self) -> str:
        return self.call_names[-1] if self.call_names else ""

    def step(self) -> None:
        """Count one expression or statement.

        Raises:
            OutOfStepsError: too many.
        """
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise OutOfStepsError

    def new_mark(self, prefix: str) -> str:
        return f"{prefix}{next(self._numbers)}"

    def place(self, node: ast.AST) -> Place:
        line = getattr(node, "lineno", 1)
        lines = self._lines.get(self.module_name, [])
        code = lines[line - 1].strip()[:160] if 0 < line <= len(lines) else ""
        return Place(file=self.module_name, line=line, code=code)

    @contextmanager
    def inside_loop(
        self, node: ast.AST, *, advances_by_itself: bool, num_rounds: int | None = None
    ) -> Iterator[str]:
        """Mark all events of a loop's body with that loop."""
        loop = Loop(
            mark=self.new_mark(LOOP),
            place=self.place(node),
            advances_by_itself=advances_by_itself,
            num_rounds=num_rounds,
        )
        self._loops.append(loop)
        try:
            yield loop.mark
        finally:
            self._loops.pop()

    def gating(self, value: Value) -> set[str]:
        """The decisions that a value owes its place to; a loss is past them, it is only counted."""
        marks = set().union(*self.gates)
        if value.constant is not UNKNOWN:
            return set()
        if any(mark.startswith(SCORE) for mark in value.marks):
            return {mark for mark in marks if mark.startswith(HINDSIGHT)}
        return marks

    def choice(self, node: ast.AST, compared: Set[str]) -> set[str]:
        """The mark of a decision by how a pass over the validation tokens went, once it is over."""
        is_of_scores = {LOSS, VALIDATION} <= compared
        is_of_scores = is_of_scores and any(mark.startswith(SCORE) for mark in compared)
        if not is_of_scores or self._is_within_pass(compared):
            return set()
        return {self.oddity(node, CHOSEN, set(compared))}

    def _is_within_pass(self, marks: Set[str]) -> bool:
        """Whether an open loop goes over the tokens of these scores: they are the past."""
        if any(loop.mark in marks for loop in self._loops):
            return True
        advancing = {loop.mark for loop in self._loops if loop.advances_by_itself}
        places = (self._scored_in[mark] for mark in marks if mark in self._scored_in)
        return any(
            function == self._function and not advancing.isdisjoint(loops)
            for function, loops in places
        )

    @property
    def decided_by(self) -> set[str]:
        """All choices on whose outcome the present step is done."""
        return set().union(*(marks for _, marks in self.choices))

    def as_chosen(self, value: Value) -> Value:
        """What is assigned where a choice decided; figures and constants choose nothing."""
        depth = len(self.calls)  # what a function called here assigns is its own
        marks = set().union(*(marks for calls, marks in self.choices if calls == depth))
        if not marks or value.constant is not UNKNOWN:
            return value
        if value.items is not None:
            return replace(value, items=[self.as_chosen(item) for item in value.items])
        if any(mark.startswith(SCORE) for mark in value.all_marks()):
            return value
        return value.view(marks)

    def score(self, node: ast.AST, marks: set[str], *, is_derived: bool = False) -> set[str]:
        """A loss is made: note it if it is one of validation tokens; the marks it carries on."""
        if VALIDATION not in marks:
            return marks | {LOSS}
        mark = self.new_mark(SCORE)
        self._scored_in[mark] = self._function, frozenset(loop.mark for loop in self._loops)
        self._add(Score, node, marks, mark=mark, is_derived=is_derived)
        return marks | {LOSS, mark}

    @property
    def is_repeated(self) -> bool:
        """Whether a loop may bring the present step about again, with other decisions."""
        return bool(self._loops)

    @contextmanager
    def inside_branch(self, test: Value, *, on_outcome: bool) -> Iterator[int]:
        """Mark all events of one side of an open branch; the number names that side."""
        number = next(self._numbers)
        self.branches.append(number)
        self.deciding.append({mark for mark in test.marks if mark.startswith(LOOP)})
        self.on_outcome.append(on_outcome)
        try:
            yield number
        finally:
            self.branches.pop()
            self.deciding.pop()
            self.on_outcome.pop()

    def differentiate(self, value: Value) -> None:
        self.pending = value.all_marks()

    def optimizer_step(self, node: ast.AST, optimizer: Value) -> None:
        if self.pending is None:
            return
        touched = optimizer.all_marks()
        objects = {m for m in touched | self.pending if m.startswith(LEAF)}
        objects |= {m for m in touched if m.startswith(OBJECT)}
        if not objects & self.pending:  # it was lost sight of whose parameters these are
            objects |= {m for m in self.pending if m.startswith(OBJECT)}
        self.update(node, self.pending, objects, is_table=False)

    def update(self, node: ast.AST, marks: set[str], objects: set[str], *, is_table: bool) -> None:
        self._add(Update, node, marks, objects=frozenset(objects), is_table=is_table)

    def gradient_step(self, node: ast.AST, target: Value, marks: set[str]) -> None:
        """A value changes in place by a gradient: an update without an optimizer."""
        if GRADIENT in marks:
            objects = {m for m in target.all_marks() if m.startswith((OBJECT, LEAF))}
            self.update(node, marks | (self.pending or set()), objects, is_table=False)

    def report(self, node: ast.AST, values: list[Value]) -> None:
        """Note a printed BPB."""
        text = HOLE.join(value.text for value in values)
        if not any(word in text.lower() for word in ("bpb", "bits_per_byte", "bits/byte")):
            return
        marks = set().union(*(value.marks for value in values)) - self.decided_by
        if any(mark.startswith(SCORE) for mark in marks):
            is_claim = self.settings.is_claiming(text)
            self._add(Report, node, marks, is_claim=is_claim, is_named="val_bpb" in text)

    def is_told(self, node: ast.expr) -> bool:
        """Whether the logs carry a text that nothing but this expression makes."""
        if node not in self._told and len(self._told) < MAX_TOLD:
            texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
            told = {t for t in texts if isinstance(t, str) and self.settings.is_left_by_run(t)}
            self._told[node] = any(self._num_holding(text) == 1 for text in told)
        return self._told.get(node, False)

    def _num_holding(self, text: str) -> int:
        """How many literal texts of the module hold this one."""
        literals = self.modules[self.module_name].of_kind(ast.Constant) if text else ()
        return sum(isinstance(other.value, str) and text in other.value for other in literals)

    def saved_objects(self) -> frozenset[str]:
        """The modules whose weights, or copies of them, went into a file; choices among them."""
        marks = (mark.removeprefix(COPY) for mark in self.storage.all_marks())
        return frozenset(mark for mark in marks if mark.startswith((OBJECT, LEAF, CHOSEN)))

    def model_call(self, node: ast.AST, marks: set[str]) -> None:
        """Data runs through a model: note it inside a function that calibrates."""
        names = " ".join(self.call_names).lower()
        if marks & {VALIDATION, TRAINING} and any(word in names for word in _CALIBRATING):
            self._add(Calibration, node, marks)

    def oddity(self, node: ast.AST, prefix: str, marks: set[str]) -> str:
        mark = self.new_mark(prefix)
        if any(self.dormant):
            marks = marks | {DORMANT}
        if prefix == MIXTURE and any(self.on_outcome):
            marks = marks | {SELF_WEIGHTED}
        self._add(Oddity, node, marks, mark=mark)
        return mark

    def _add(self, kind: type[Event], node: ast.AST, marks: set[str], **more: object) -> None:
        if len(self.trace.events) > MAX_EVENTS:
            return
        self.trace.events.append(
            kind(
                order=len(self.trace.events),
                place=self.place(node),
                loops=tuple(self._loops),
                branches=frozenset(self.branches),
                marks=frozenset(marks),
                function=self._function,
                **more,
            )
        )
