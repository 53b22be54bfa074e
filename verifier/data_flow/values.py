"""What stands in for a value while a script is followed: where it comes from, not what it is.

A mark is a short word. Marks of origin: validation tokens, training tokens. Marks of making: a
loss, a probability of the realised token, a count read from a table. Numbered marks name one
thing among many: `loop:7` for what depends on that loop's variable, `object:3` for what a module
or table has touched, `leaf:2` for a tensor made to be fitted, `score:9` for an accumulated loss.
"""

import ast
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

VALIDATION: Final = "validation"
TRAINING: Final = "training"
READ: Final = "read"  # from a file; of which of the two texts is told by its name, if at all
LOSS: Final = "loss"  # -log p of the realised token
DISTRIBUTION: Final = "distribution"  # over the vocabulary
LOG_DISTRIBUTION: Final = "log distribution"
TARGET_PROBABILITY: Final = "target probability"  # one number: that of the realised token
COUNT: Final = "count"  # read from a table under a key made of validation tokens
HASHED: Final = "hashed"  # a key folded into a table's size
SCRAMBLED: Final = "scrambled"  # tokens combined as a hash does
VOCABULARY: Final = "vocabulary"  # ranges over all symbols, not over the realised one
SUMMED: Final = "summed"  # counts of all symbols added up: what makes them probabilities
ENTROPY: Final = "entropy"  # an average over all symbols: the same whatever token comes
TOKEN_BLIND: Final = "token-blind"  # stacked losses, one of which is no token's
SIDE_BY_SIDE: Final = "side by side"  # stacked losses, of which a token has several
SELF_WEIGHTED: Final = "self-weighted"  # the realised token's probability times its own loss
GRADIENT: Final = "gradient"
PICKED: Final = "picked"  # the logit of one symbol
LOG_NORM: Final = "log norm"  # the log of a sum over all symbols
NATIVE: Final = "native"  # code of another language, called through its library
BUCKETS: Final = "buckets"  # how often each key of a table occurs
PIECE: Final = "piece"  # the text or bytes of a token
PIECE_LENGTH: Final = "piece length"  # how many bytes a token stands for
SPREAD: Final = "spread"  # a token's loss divided among its bytes
FILE_NAME: Final = "file name"  # or another name: says where the data lie; no data yet
TOKEN_CLASS: Final = "token class"  # a table of the alphabet read at a validation token

RANK: Final = "rank"  # which of the processes this is: the first one is followed
DISPUTED: Final = "disputed"  # a setting on which the folder disagrees with itself
DORMANT: Final = "dormant"  # reached with a strength that is set to zero

LOOP: Final = "loop:"
OBJECT: Final = "object:"
COPY: Final = "copy of "  # before an object's mark: made from it, and apart from then on
EARLIER: Final = "earlier:"  # some places before a loop's present one
LEAF: Final = "leaf:"
SCORE: Final = "score:"
MIXTURE: Final = "mixture:"
GATE: Final = "gate:"
NATIVE_CALL: Final = "native call:"
HINDSIGHT: Final = "hindsight:"
BEST: Final = "best of rounds:"
CHOSEN: Final = "chosen:"  # by how a whole pass over the validation tokens went
UP_TO: Final = "up to:"
FROM: Final = "from:"
LIMIT: Final = "limit:"  # a setting that ends evaluation early, with its value

MAX_MARK_DEPTH = 3
_numbers = itertools.count()


class _Unknown:
    """The constant of what is not known beforehand."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown()


@dataclass(slots=True, eq=False)
class Value:
    """One value of the script, shared by reference: in-place changes are seen everywhere."""

    marks: set[str] = field(default_factory=set)
    constant: object = UNKNOWN
    text: str = ""  # of a string or f-string, as far as it is literal
    name: str = ""  # dotted, of what a library provides
    taken_off: str = ""  # of a difference: the code of what was subtracted
    compared: frozenset[str] = frozenset()  # of a yes or no: the marks of the sizes behind it
    items: "list[Value] | None" = None  # of a tuple or list whose length is known
    element: "Value | None" = None  # any element of a collection
    attributes: "dict[str, Value] | None" = None
    is_mapping: bool = False
    function: "Function | None" = None
    made_by: "Class | None" = None  # the class that it is an instance of
    class_: "Class | None" = None  # the class that it is
    origin: "Value | None" = None  # the shared element that this is one view of
    number: int = field(default_factory=lambda: next(_numbers))

    @property
    def identity(self) -> str:
        """The mark of all that this value touches; one for all elements of a collection."""
        return self.origin.identity if self.origin else f"{OBJECT}value {self.number}"

    @property
    def has_structure(self) -> bool:
        """Whether more is known of it than where it comes from."""
        known = (self.element, self.items, self.attributes, self.function, self.made_by)
        return any(part is not None for part in known)

    def all_marks(self, depth: int = MAX_MARK_DEPTH) -> set[str]:
        """The marks of the value and of what it holds."""
        marks = set(self.marks)
        if depth:
            for part in self._parts():
                marks |= part.all_marks(depth - 1)
        return marks

    def absorb(self, marks: Iterable[str]) -> None:
        """Take marks in place: whoever holds this value sees them."""
        self.marks.update(marks)
        for held in (self.element, self.origin, *(self.items or ())):
            if held is not None:
                held.marks.update(marks)

    def view(self, marks: Iterable[str]) -> "Value":
        """The same thing, seen with further marks."""
        return replace(self, marks=self.marks.union(marks), origin=self.origin or self)

    def lineage(self) -> set[str]:
        """The marks of a copy: of what this is, and of what this was made from."""
        marks = self.all_marks()
        made_from = {f"{COPY}{mark}" for mark in marks if mark.startswith(OBJECT)}
        return made_from | {mark for mark in marks if mark.startswith(COPY)}

    def any_element(self) -> "Value":
        """What iterating yields."""
        if self.element is not None:
            return self.element.view(self.marks)
        if self.items:
            return join(self.items)
        return Value(marks=set(self.marks))

    def _parts(self) -> "list[Value]":
        parts = [*(self.items or ()), *(self.attributes or {}).values()]
        return [*parts, self.element] if self.element is not None else parts


@dataclass(slots=True, eq=False)
class Scope:
    """Names of one function call, one class body or one module."""

    names: dict[str, Value] = field(default_factory=dict)
    parent: "Scope | None" = None
    outer_names: set[str] = field(default_factory=set)  # declared global or nonlocal
    variable: Mapping[str, object] = field(default_factory=dict)
    """Names bound more than once, with the one constant that all later bindings give."""

    def find(self, name: str) -> Value | None:
        """The value of a name here or further out."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.parent
        return None

    def assign(self, name: str, value: Value) -> None:
        """Bind a name; one that is bound twice, and not to the same, has no known constant."""
        scope = self
        while name in scope.outer_names and scope.parent is not None:
            scope = scope.parent
        if value.constant is not UNKNOWN and scope.variable.get(name, value.constant) != (
            value.constant
        ):
            value = replace(value, constant=UNKNOWN)
        scope.names[name] = value


@dataclass(slots=True, eq=False)
class Function:
    """A function or lambda of the script, with the names around it and its receiver."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    scope: Scope
    receiver: Value | None = None

    @property
    def name(self) -> str:
        return "lambda" if isinstance(self.node, ast.Lambda) else self.node.name


@dataclass(slots=True, eq=False)
class Class:
    """A class of the script."""

    name: str
    attributes: dict[str, Value]
    is_module: bool  # a torch module: its arithmetic is not followed
    is_optimizer: bool


def join(values: Iterable[Value]) -> Value:
    """What may be any of `values`."""
    values = list(values)
    if len(values) == 1:
        return values[0]
    joined = Value()
    for value in values:
        joined.marks |= value.marks
    joined.items = _joined_items(values)
    joined.attributes = _joined_attributes(values)
    for attribute in ("element", "function", "made_by", "class_", "origin"):
        known = [v for v in (getattr(value, attribute) for value in values) if v is not None]
        if known:
            setattr(joined, attribute, known[0])
    joined.is_mapping = any(value.is_mapping for value in values)
    joined.text = max((value.text for value in values), key=len, default="")
    joined.taken_off = next((value.taken_off for value in values if value.taken_off), "")
    joined.name = next((value.name for value in values if value.name), "")
    return joined


def _joined_items(values: list[Value]) -> list[Value] | None:
    lengths = {len(value.items) for value in values if value.items is not None}
    if len(lengths) != 1:
        return None
    rows = [value.items for value in values if value.items is not None]
    return [join(column) for column in zip(*rows, strict=True)]


def _joined_attributes(values: list[Value]) -> dict[str, Value] | None:
    distinct = {id(v.attributes): v.attributes for v in values if v.attributes is not None}
    known = list(distinct.values())
    if len(known) < 2:
        return known[0] if known else None
    names = {name for attributes in known for name in attributes}
    return {name: join(a[name] for a in known if name in a) for name in names}
