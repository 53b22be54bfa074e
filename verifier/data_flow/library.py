"""What library functions and methods mean, by name: losses, logs, tables, updates, exchanges."""

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from verifier.data_flow import constants
from verifier.data_flow.probabilities import Probabilities
from verifier.data_flow.values import (
    BUCKETS,
    CHOSEN,
    COPY,
    COUNT,
    DISPUTED,
    ENTROPY,
    FILE_NAME,
    GRADIENT,
    HASHED,
    LEAF,
    LOOP,
    LOSS,
    MIXTURE,
    NATIVE,
    NATIVE_CALL,
    OBJECT,
    PIECE,
    PIECE_LENGTH,
    RANK,
    READ,
    SIDE_BY_SIDE,
    TARGET_PROBABILITY,
    TOKEN_BLIND,
    TOKEN_CLASS,
    TRAINING,
    UNKNOWN,
    VALIDATION,
    VOCABULARY,
    Value,
    join,
)

_VOCABULARY_SIZE = re.compile(r"(?i)vocab|^V$")
_CASTS = {"to", "float", "half", "bfloat16", "cpu", "cuda"}
_PASSING = {"values", "detach", "eval", "data_as", "contiguous"} | _CASTS
_NATIVE_LOADERS = {"CDLL", "LoadLibrary", "load_inline"}
_READERS = {"fromfile", "memmap", "open_memmap", "from_file", "read_bytes", "load_file"}
_TEXTS = {"train": TRAINING, "val": VALIDATION}
_SIZES = {"numel", "size", "dim"}
_OVER_ALL = {"any", "all"}
_RANKS = {"RANK", "LOCAL_RANK"}
_EXTREMES = {"minimum", "maximum", "min", "max", "fmin", "fmax"}
_MAPPINGS = {"dict", "defaultdict", "Counter", "OrderedDict"}
_FRESH = {
    "zeros",
    "ones",
    "empty",
    "zeros_like",
    "ones_like",
    "empty_like",
    "randn",
    "rand",
    "randint",
} | _MAPPINGS
_SAME = {
    "list",
    "tuple",
    "sorted",
    "reversed",
    "iter",
    "tqdm",
    "compile",
    "partial",
    "module_from_spec",
}
_PATHS = {"str", "Path", "PurePath", "join", "glob", "iglob", "abspath", "fspath", "expanduser"}
_EXCHANGES = {"all_gather", "all_gather_object", "gather_object", "broadcast_object_list"}
_FILLING = {"append", "extend", "add", "insert", "appendleft", "update", "write", "copyto", "put"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What a call hands over."""

    positional: tuple[Value, ...]
    named: Mapping[str, Value]

    @property
    def all(self) -> list[Value]:
        return [*self.positional, *self.named.values()]

    def marks(self) -> set[str]:
        """The marks of all arguments and of what they hold."""
        return set().union(*(value.all_marks() for value in self.all)) if self.all else set()

    def first(self) -> Value:
        return self.positional[0] if self.positional else Value()


class Library(Probabilities):
    """Evaluates calls of what the script does not define itself."""

    def known_method(
        self, node: ast.Call, receiver: Value, name: str, arguments: Arguments
    ) -> Value | None:
        """A method that means one thing whatever it is called on; None for all others."""
        if NATIVE in receiver.marks:
            return self._native(node, arguments)
        if name in _SIZES:
            return Value(marks=_of_a_size(receiver.marks))
        if name in _OVER_ALL and not arguments.all:  # says nothing of the one that stands here
            return Value(marks=receiver.all_marks() - {TOKEN_CLASS})
        if name in self._METHODS:
            return self._METHODS[name](self, node, receiver, arguments)
        if name in _EXTREMES and arguments.positional:
            return self.extreme(node, [receiver, *arguments.positional])
        if name in _FILLING or (name.endswith("_") and not name.startswith("_")):
            return self._fill(node, receiver, name, arguments)
        if name == "items":
            return Value(element=Value(items=[Value(), receiver.any_element()]))
        if name in _PASSING:
            return receiver
        folded = constants.text_method(name, receiver.constant)
        if folded is not UNKNOWN:
            return Value(constant=folded, marks=set(receiver.marks))
        return self.by_meaning(node, name, [receiver, *arguments.positional])

    def library_call(self, node: ast.Call, name: str, arguments: Arguments) -> Value:
        """The value of a library function's call."""
        last = name.rpartition(".")[2]
        if last in self._FUNCTIONS:
            return self._FUNCTIONS[last](self, node, name, arguments)
        if last in _EXCHANGES or name.endswith("distributed.gather"):
            for value in arguments.positional:
                value.absorb(arguments.marks())
            return Value()
        if last in _EXTREMES:
            return self.extreme(node, list(arguments.positional))
        if last in _SAME and arguments.positional:
            return arguments.positional[0]
        found = self.by_meaning(node, last, list(arguments.positional))
        return found if found is not None else self._made(node, name, arguments)

    def _made(self, node: ast.Call, name: str, arguments: Arguments) -> Value:
        """Something new, of what the arguments bring along."""
        last = name.rpartition(".")[2]
        if last in _NATIVE_LOADERS:
            return Value(marks={NATIVE})
        if name.startswith("torch.nn.") and last[:1].isupper() and last != "Parameter":
            return Value(marks={self.new_mark(OBJECT)})
        marks = set() if last in _FRESH else arguments.marks()
        if last not in _PATHS:
            marks.discard(FILE_NAME)
        if last in _READERS:
            marks.add(READ)
        if last == "arange" and _VOCABULARY_SIZE.search(_named(node.args)):
            marks.add(VOCABULARY)
        if "requires_grad" in arguments.named or last == "Parameter":
            marks.add(self.new_mark(LEAF))
        value = Value(marks=marks, text=arguments.first().text)
        given = arguments.first()
        several = constants.of_items(given) if last == "bytes" else given.constant
        value.constant = constants.convert(last, several)
        if last in _FRESH:
            value.attributes = {}  # a thing of its own: a table keeps its identity in a collection
            value.is_mapping = last in _MAPPINGS
        return value

    def _stack(self, node: ast.Call, name: str, arguments: Arguments) -> Value:
        """Losses side by side; an entropy among them says the same of every token."""
        value = self._made(node, name, arguments)
        rows = [item.all_marks() for item in arguments.first().items or []]
        is_blind = any(ENTROPY in row and LOSS not in row for row in rows)
        if is_blind and any(LOSS in row for row in rows):
            value.marks.add(TOKEN_BLIND)
        each = arguments.first().element
        rows += [each.all_marks()] * 2 if each is not None else []
        if sum(LOSS in row and PIECE_LENGTH not in row for row in rows) > 1:
            value.marks.add(SIDE_BY_SIDE)
        return value

    def _bincount(self, node: ast.Call, name: str, arguments: Arguments) -> Value:
        """How often each key occurs: a table, if it is one of the vocabulary's symbols, at once."""
        value = self._made(node, name, arguments)
        bins = [*node.args[1:], *(k.value for k in node.keywords if k.arg == "minlength")]
        keys = arguments.first().all_marks()
        if HASHED in value.marks:
            value.marks.add(BUCKETS)
        elif _VOCABULARY_SIZE.search(_named(bins)) and VALIDATION in keys - {FILE_NAME}:
            value.marks.add(value.identity)
            self.update(node, keys, {value.identity}, is_table=True)
        return value

    def _add_at(self, node: ast.Call, name: str, arguments: Arguments) -> Value:
        """numpy.add.at(table, keys, values)."""
        if len(arguments.positional) > 1:
            self.note_table_write(node, *arguments.positional[:2])
            arguments.positional[0].absorb(arguments.marks())
        return Value()

    def _backward(self, node: ast.Call, receiver: Value, arguments: Arguments) -> Value:
        self.differentiate(receiver)
        return Value()

    def _step(self, node: ast.Call, receiver: Value, arguments: Arguments) -> Value:
        self.optimizer_step(node, receiver)
        return Value()

    def _load(self, node: ast.Call, receiver: Value, arguments: Arguments) -> Value:
        loaded = set().union(*(value.lineage() for value in arguments.all), self.decided_by)
        receiver.absorb(loaded | {m for m in arguments.marks() if m.startswith(CHOSEN)})
        return Value()

    def _deepcopy(self, node: ast.Call, name: str, arguments: Arguments) -> Value:
        """A model's copy learns for itself; anything else is as good as the original."""
        original = arguments.first()
        made_from = original.lineage()
        if not made_from:
            return original
        kept = {mark for mark in original.marks if not mark.startswith(OBJECT)}
        return replace(original, marks=kept | made_from | {self.new_mark(OBJECT)}, origin=None)

    def _need_gradient(self, node: ast.Call, receiver: Value, arguments: Arguments) -> Value:
        """A tensor that is no module's becomes something to be fitted."""
        wanted = arguments.first().constant is not False
        if wanted and not any(mark.startswith(OBJECT) for mark in receiver.all_marks()):
            receiver.absorb({self.new_mark(LEAF)})
        return receiver

    def _get(self, node: ast.Call, receiver: Value, arguments: Arguments) -> Value:
        """dict.get: a count where the key is made of validation tokens."""
        keys = arguments.first()
        found = self.item_of(node, receiver, keys)
        if VALIDATION in keys.all_marks() and FILE_NAME not in keys.all_marks():
            found = found.view({COUNT, receiver.identity})
        return found

    def _fill(self, node: ast.Call, receiver: Value, name: str, arguments: Arguments) -> Value:
        """The receiver takes in the arguments."""
        marks = arguments.marks()
        placed = (value for value in arguments.all if PIECE not in value.marks)
        marks |= set().union(*(self.gating(value) for value in placed), *self.deciding)
        if receiver.origin is self.storage or receiver is self.storage:
            marks = {mark for mark in marks if mark.startswith((OBJECT, COPY))}
        self.gradient_step(node, receiver, marks)
        if name.startswith(("scatter_add", "index_add", "index_put")) and arguments.positional:
            self.note_table_write(node, receiver, Value(marks=arguments.marks()))
        receiver.absorb(marks)
        held = [receiver.element] if receiver.element is not None else []
        held += [value for value in arguments.positional if value.has_structure]
        if held and name in _FILLING:
            receiver.element = join([*held, Value()])
        return receiver

    def _native(self, node: ast.Call, arguments: Arguments) -> Value:
        """Native code may write to all it is given; what it makes of a loss cannot be seen."""
        marks = arguments.marks()
        if VALIDATION in marks:
            kind = MIXTURE if LOSS in marks else NATIVE_CALL
            marks |= {self.oddity(node, kind, marks | {NATIVE})}
        for value in arguments.all:
            value.absorb(marks)
        return Value(marks=marks)

    def _environment(self, node: ast.Call, name: str, arguments: Arguments) -> Value:
        """os.environ.get and os.getenv: what the claimed run set, else the default."""
        if not name.endswith(("environ.get", "os.getenv")) or not arguments.positional:
            return Value(marks=arguments.marks())
        key = arguments.positional[0].constant
        default = arguments.positional[1] if len(arguments.positional) > 1 else None
        if isinstance(key, str) and key in self.settings.environment:
            value = self.settings.environment[key]
            marks = set(default.marks) if default else set()
            marks |= {RANK} if key in _RANKS else set()
            if value is None:
                return Value(marks=marks | {DISPUTED})
            return Value(constant=value, marks=marks)
        return default if default is not None else Value(constant=None)

    def _folder(self, node: ast.Call, name: str, arguments: Arguments) -> Value:
        """os.path.dirname: what else lies in the folder of the data is not the data."""
        return Value(marks=arguments.marks() - {VALIDATION, TRAINING, FILE_NAME})

    def _rank(self, node: ast.Call, name: str, arguments: Arguments) -> Value:
        return Value(constant=0, marks={RANK})

    def _enumerate(self, node: ast.Call, name: str, arguments: Arguments) -> Value:
        return Value(element=Value(items=[Value(), arguments.first().any_element()]))

    def _zip(self, node: ast.Call, name: str, arguments: Arguments) -> Value:
        return Value(element=Value(items=[v.any_element() for v in arguments.positional]))

    def _where(self, node: ast.Call, name: str, arguments: Arguments) -> Value:
        """A choice: by hindsight, if the condition compares how two predictions did."""
        marks = arguments.marks()
        if len(arguments.positional) == 3:
            condition, one, other = arguments.positional
            if TARGET_PROBABILITY in condition.marks and condition.marks & {COUNT}:
                marks |= self.hindsight(node, [one, other])
        return Value(marks=marks)

    def _save(self, node: ast.Call, name: str, arguments: Arguments) -> Value:
        # The best so far is often kept beside what is handed in, and never read.
        self.storage.absorb(arguments.marks() - self.decided_by)
        for value in arguments.positional[1:2]:
            value.absorb(arguments.marks())
        return Value()

    def _register(self, node: ast.Call, receiver: Value, arguments: Arguments) -> Value:
        """model.register_buffer(name, tensor): an attribute by another way."""
        if len(arguments.positional) > 1:
            self.set_attribute(receiver, arguments.first().text, arguments.positional[1])
        return Value()

    def _rename(self, node: ast.Call, receiver: Value, arguments: Arguments) -> Value:
        """`path.replace("train", "val")`: the name of a file of the other text."""
        marks, told = receiver.all_marks() | arguments.marks(), arguments.positional
        if FILE_NAME in receiver.marks and len(told) == 2:
            before, after = (value.text for value in told)
            for word, origin in _TEXTS.items():
                if word in before:
                    marks.discard(origin)
                if word in after:
                    marks.add(origin)
        return Value(marks=marks)

    def _to_file(self, node: ast.Call, receiver: Value, arguments: Arguments) -> Value:
        arguments.first().absorb(receiver.all_marks())
        return Value()

    def _open(self, node: ast.Call, name: str, arguments: Arguments) -> Value:
        return self.storage.view(arguments.marks() - {FILE_NAME} | {READ})

    def _gradient(self, node: ast.Call, name: str, arguments: Arguments) -> Value:
        self.differentiate(arguments.first())
        return Value(marks=arguments.marks() | {GRADIENT})

    def _length(self, node: ast.Call, name: str, arguments: Arguments) -> Value:
        marks = arguments.first().all_marks()
        return Value(marks=_of_a_size(marks) | ({PIECE_LENGTH} if PIECE in marks else set()))

    _METHODS: ClassVar[Mapping[str, Callable[..., Value]]] = {
        "backward": _backward,
        "step": _step,
        "load_state_dict": _load,
        "requires_grad_": _need_gradient,
        "get": _get,
        "tofile": _to_file,
        "replace": _rename,
        "register_buffer": _register,
    }
    _FUNCTIONS: ClassVar[Mapping[str, Callable[..., Value]]] = {
        "get": _environment,
        "getenv": _environment,
        "get_rank": _rank,
        "deepcopy": _deepcopy,
        "dirname": _folder,
        "enumerate": _enumerate,
        "zip": _zip,
        "where": _where,
        "stack": _stack,
        "save": _save,
        "open": _open,
        "load": _open,
        "at": _add_at,
        "bincount": _bincount,
        "grad": _gradient,
        "len": _length,
    }


def _named(nodes: list[ast.expr]) -> str:
    """The names and attributes that expressions end in."""
    return " ".join(getattr(node, "attr", getattr(node, "id", "")) for node in nodes)


def _of_a_size(marks: set[str]) -> set[str]:
    """What a collection's size keeps of where the collection comes from."""
    return {mark for mark in marks if mark.startswith(LOOP)}
