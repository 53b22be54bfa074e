"""Expressions over literals → their values, without running anything that was submitted.

What stands here: constants, f-strings, slices, comprehensions, calls of the listed functions
(literal_functions.py), lambdas and short functions, paths and files of the submission
(literal_files.py). Anything else stops the evaluation with a reason.
"""

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from verifier.reading.literal_files import (
    PATH_CALLS,
    PATH_PARTS,
    Files,
    FileView,
    OpenFile,
    parent,
)
from verifier.reading.literal_functions import (
    CONSTANTS,
    FUNCTIONS,
    METHODS,
    CannotFollow,
    LeavesFolder,
    Value,
    bounded,
)

MAX_STEPS = 200_000
MAX_WORK_BYTES = 48 << 20  # of all values that are looked at, one by one
MAX_CALL_DEPTH = 20

_OPERATORS: Mapping[type, Callable[[Value, Value], Value]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitXor: operator.xor,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.Gt: operator.gt,
    ast.In: lambda item, values: item in values,
    ast.NotIn: lambda item, values: item not in values,
}


@dataclass(frozen=True, slots=True)
class Symbol:
    """A name that comes from outside: a module or what is in it."""

    dotted: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The value of a name that was assigned something that is not evaluated."""

    reason: str
    leaves_folder: bool = False


@dataclass(frozen=True, slots=True)
class Code:
    """What `compile` makes of a text."""

    text: str


@dataclass(frozen=True, slots=True)
class Closure:
    """A lambda or function of the script, with the names around it."""

    node: ast.Lambda | ast.FunctionDef
    names: dict[str, Value]


class Evaluator:
    """Values of expressions in one module; `names` is its global scope."""

    def __init__(self, files: Files, own_path: PurePosixPath) -> None:
        self.files = FileView(files, own_path.parent)
        self.names: dict[str, Value] = {"__file__": own_path, "__name__": "__main__"}
        self._steps = 0
        self._work_bytes = 0
        self._depth = 0
        self._special_calls: Mapping[str, Callable[..., Value]] = {
            "map": self._map,
            "str": self._str,
            **self.files.functions,
        }

    def value(self, node: ast.expr) -> Value:
        """What the expression evaluates to.

        Raises:
            CannotFollow: a step of it is not evaluated here.
        """
        self._steps += 1
        if self._steps > MAX_STEPS or self._work_bytes > MAX_WORK_BYTES:
            raise CannotFollow("a chain of too many steps")
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            raise CannotFollow(f"an expression of kind {type(node).__name__}")
        try:
            value = bounded(method(node))
        except CannotFollow:
            raise
        except Exception as error:  # what a decoder makes of a wrong value is its own affair
            raise CannotFollow(f"{_title(node)} fails: {type(error).__name__}: {error}") from None
        if isinstance(value, Unknown):
            raise (LeavesFolder if value.leaves_folder else CannotFollow)(value.reason)
        if isinstance(value, (str, bytes)):
            self._work_bytes += len(value)
        return value

    def dotted(self, node: ast.expr) -> str | None:
        """The outside name that an expression means: `L.decompress` → `lzma.decompress`."""
        if isinstance(node, ast.Name):
            known = self.names.get(node.id, Symbol(node.id))
            return known.dotted if isinstance(known, Symbol) else None
        if isinstance(node, ast.Attribute):
            base = self.dotted(node.value)
            return f"{base}.{node.attr}" if base else None
        if isinstance(node, ast.Call) and node.args:
            if self.dotted(node.func) in ("__import__", "importlib.import_module"):
                return str(self.value(node.args[0]))
            if self.dotted(node.func) == "getattr" and len(node.args) > 1:
                return f"{self.dotted(node.args[0])}.{self.value(node.args[1])}"
        return None

    def _constant(self, node: ast.Constant) -> Value:
        return node.value

    def _name(self, node: ast.Name) -> Value:
        if node.id in self.names:
            return self.names[node.id]
        return self._symbol(node.id)

    def _attribute(self, node: ast.Attribute) -> Value:
        dotted = self.dotted(node)
        if dotted is not None:
            return self._symbol(dotted)
        owner = self.value(node.value)
        if isinstance(owner, PurePosixPath) and node.attr in PATH_PARTS:
            return parent(owner) if node.attr == "parent" else getattr(owner, node.attr)
        raise CannotFollow(f"the attribute {node.attr!r}")

    def _symbol(self, dotted: str) -> Value:
        return CONSTANTS[dotted] if dotted in CONSTANTS else Symbol(dotted)

    def _list(self, node: ast.List) -> Value:
        return self._items(node.elts)

    def _tuple(self, node: ast.Tuple) -> Value:
        return tuple(self._items(node.elts))

    def _items(self, elements: Sequence[ast.expr]) -> list[Value]:
        items: list[Value] = []
        for element in elements:
            if isinstance(element, ast.Starred):
                items += self.value(element.value)
            else:
                items.append(self.value(element))
        return items

    def _dict(self, node: ast.Dict) -> Value:
        pairs = zip(node.keys, node.values, strict=True)
        return {_scalar(self.value(key)): self.value(value) for key, value in pairs if key}

    def _joinedstr(self, node: ast.JoinedStr) -> Value:
        return "".join(self.value(part) for part in node.values)

    def _formattedvalue(self, node: ast.FormattedValue) -> Value:
        if node.format_spec is not None or node.conversion != -1:
            raise CannotFollow("a formatted value")
        value = self.value(node.value)
        return FUNCTIONS["str"](str(value) if isinstance(value, PurePosixPath) else value)

    def _binop(self, node: ast.BinOp) -> Value:
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(node.op, ast.Mult):
            return _product(left, right)
        if isinstance(left, PurePosixPath) and isinstance(node.op, ast.Div):
            return left / right
        if isinstance(left, PurePosixPath) and isinstance(node.op, ast.Add):
            return PurePosixPath(f"{left}{right}")
        if isinstance(node.op, ast.Mod) and isinstance(left, (str, bytes)):
            raise CannotFollow("a formatted value")
        return _OPERATORS[type(node.op)](left, right)

    def _unaryop(self, node: ast.UnaryOp) -> Value:
        operand = self.value(node.operand)
        return -operand if isinstance(node.op, ast.USub) else not operand

    def _compare(self, node: ast.Compare) -> Value:
        if len(node.ops) > 1:
            raise CannotFollow("a chained comparison")
        left, right = self.value(node.left), self.value(node.comparators[0])
        return _OPERATORS[type(node.ops[0])](_scalar(left), _scalar(right))

    def _ifexp(self, node: ast.IfExp) -> Value:
        return self.value(node.body if self.value(node.test) else node.orelse)

    def _namedexpr(self, node: ast.NamedExpr) -> Value:
        self.names[node.target.id] = self.value(node.value)
        return self.names[node.target.id]

    def _lambda(self, node: ast.Lambda) -> Value:
        return Closure(node, self.names)

    def _subscript(self, node: ast.Subscript) -> Value:
        owner = self.value(node.value)
        if isinstance(owner, Symbol):
            raise CannotFollow(f"the value of {owner.dotted}")
        if isinstance(node.slice, ast.Slice):
            parts = (node.slice.lower, node.slice.upper, node.slice.step)
            return owner[slice(*(self.value(part) if part else None for part in parts))]
        index = _scalar(self.value(node.slice))
        if not isinstance(owner, (str, bytes, list, tuple, dict)):  # the parents of a path
            return owner[index] if index < len(owner) else PurePosixPath("..")
        return owner[index]

    def _listcomp(self, node: ast.ListComp | ast.GeneratorExp) -> Value:
        if len(node.generators) > 1:
            raise CannotFollow("a nested comprehension")
        loop = node.generators[0]
        outside, results = self.names, []
        self.names = dict(outside)
        try:
            for item in self.value(loop.iter):
                self.bind(loop.target, item)
                if all(self.value(test) for test in loop.ifs):
                    results.append(self.value(node.elt))
        finally:
            self.names = outside
        return results

    _generatorexp = _listcomp

    def bind(self, target: ast.expr, value: Value) -> None:
        """Assign to a name or to a tuple of names; other targets hold nothing that we follow."""
        if isinstance(target, ast.Name):
            self.names[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            for part, item in zip(target.elts, value, strict=True):
                self.bind(part, item)

    def _call(self, node: ast.Call) -> Value:
        dotted = self.dotted(node.func)
        if dotted == "compile" and node.args:  # file name and mode are of no interest
            return Code(as_text(self.value(node.args[0])))
        symbol = self.dotted(node)
        if symbol is not None:
            return self._symbol(symbol)
        arguments = self._items(node.args)
        named = {word.arg: self.value(word.value) for word in node.keywords if word.arg}
        if dotted is None:
            return self._call_value(node.func, arguments, named)
        if dotted in self._special_calls:
            return self._special_calls[dotted](*arguments, **named)
        if dotted in PATH_CALLS and isinstance(arguments[0], str | PurePosixPath):
            return PurePosixPath(self.files.path(arguments[0]), *arguments[1:])
        if dotted in FUNCTIONS:
            return FUNCTIONS[dotted](*arguments, **named)
        raise CannotFollow(f"the call of {dotted}")

    def _call_value(self, func: ast.expr, arguments: list[Value], named: dict[str, Value]) -> Value:
        """A call of a method, or of a function that the script itself holds."""
        if not isinstance(func, ast.Attribute):
            return self._enter(self.value(func), arguments, named)
        owner = self.value(func.value)
        if isinstance(owner, PurePosixPath):
            return self.files.path_method(owner, func.attr, arguments)
        if isinstance(owner, OpenFile):
            return self.files.file_method(owner, func.attr, arguments)
        method = METHODS.get((type(owner), func.attr))
        if method is None:
            raise CannotFollow(f"the method {func.attr!r}")
        return method(owner, *arguments, **named)

    def _enter(self, function: Value, arguments: list[Value], named: dict[str, Value]) -> Value:
        """A lambda, or a function whose body is one `return`."""
        if isinstance(function, Symbol) and function.dotted in FUNCTIONS:
            return FUNCTIONS[function.dotted](*arguments, **named)
        if not isinstance(function, Closure) or self._depth >= MAX_CALL_DEPTH:
            raise CannotFollow("a call of a function that is not followed")
        outside, parameters = self.names, function.node.args.args
        inside = {p.arg: value for p, value in zip(parameters, arguments, strict=False)}
        self.names, self._depth = {**function.names, **inside, **named}, self._depth + 1
        try:
            return self._body_value(function.node)
        finally:
            self.names, self._depth = outside, self._depth - 1

    def _body_value(self, node: ast.Lambda | ast.FunctionDef) -> Value:
        if isinstance(node, ast.Lambda):
            return self.value(node.body)
        for statement in node.body:
            if isinstance(statement, ast.Return) and statement.value is not None:
                return self.value(statement.value)
            if not isinstance(statement, ast.Assign):
                break
            for target in statement.targets:
                self.bind(target, self.value(statement.value))
        raise CannotFollow(f"a call of {node.name}, which is more than assignments and a return")

    def _map(self, function: Value, values: Value) -> Value:
        return [self._enter(function, [value], {}) for value in values]

    def _str(self, value: Value = "", *rest: Value, **named: Value) -> Value:
        """A path stays one: scripts make texts of paths and paths of those."""
        return (
            value if isinstance(value, PurePosixPath) else FUNCTIONS["str"](value, *rest, **named)
        )


def as_text(source: Value) -> str:
    """Python source as text, from what exec and compile accept.

    Raises:
        CannotFollow: it is something else.
    """
    if isinstance(source, Code):
        return source.text
    if isinstance(source, bytes):
        return source.decode("utf-8-sig", "replace")
    if isinstance(source, str):
        return source
    raise CannotFollow(f"code held in a {type(source).__name__}")


def _scalar(value: Value) -> Value:
    """The value, if comparing and hashing it is cheap; nested lists are neither."""
    if isinstance(value, (list, tuple, dict)):
        raise CannotFollow("a comparison of lists")
    return value


def _product(left: Value, right: Value) -> Value:
    size = len(left) if hasattr(left, "__len__") else 1
    times = right if isinstance(right, int) else 1
    if not isinstance(right, int) or size * abs(times) > 1 << 23:
        raise CannotFollow("a multiplication")
    return left * right


def _title(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        return f"the call of {ast.unparse(node.func)[:60]}"
    return f"an expression of kind {type(node).__name__}"
