"""Expressions over literals → their values, without running anything that was submitted.

What stands here: constants, f-strings, slices, comprehensions, calls of the listed functions
(literal_functions.py), lambdas and short functions, paths and files of the submission. Anything
else stops the evaluation with a reason.
"""

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from verifier.literal_functions import CONSTANTS, FUNCTIONS, METHODS, CannotFollow, Value, bounded

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
_SAME_PATH = {"resolve", "absolute", "as_posix", "expanduser"}
_PATH_PARTS = ("parent", "parents", "name", "stem", "suffix")
_PATH_CALLS = {
    *("os.path.abspath", "os.path.realpath", "os.path.join", "os.fspath"),
    *("pathlib.Path", "pathlib.PurePath"),
}


@dataclass(frozen=True, slots=True)
class Symbol:
    """A name that comes from outside: a module or what is in it."""

    dotted: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The value of a name that was assigned something that is not evaluated."""

    reason: str


@dataclass(frozen=True, slots=True)
class Code:
    """What `compile` makes of a text."""

    text: str


@dataclass(frozen=True, slots=True)
class Closure:
    """A lambda or function of the script, with the names around it."""

    node: ast.Lambda | ast.FunctionDef
    names: dict[str, Value]


@dataclass(slots=True)
class OpenFile:
    """A file of the submission (or a value) opened for reading, or a new one for writing."""

    path: PurePosixPath
    content: bytes
    is_text: bool
    position: int = 0


@dataclass(slots=True)
class Files:
    """The submission's files by path, and those that the stub writes for itself."""

    read: Callable[[PurePosixPath], bytes | None]
    written: dict[PurePosixPath, bytes] = field(default_factory=dict)

    def content(self, path: PurePosixPath) -> bytes:
        """The bytes at a path below the submission's root.

        Raises:
            CannotFollow: there is no such file, or it is too large.
        """
        content = self.written.get(path)
        content = self.read(path) if content is None else content
        if content is None:
            raise CannotFollow(f"the file {path}, which is not in the folder or too large")
        return content


class Evaluator:
    """Values of expressions in one module; `names` is its global scope."""

    def __init__(self, files: Files, own_path: PurePosixPath) -> None:
        self.files = files
        self.names: dict[str, Value] = {"__file__": own_path, "__name__": "__main__"}
        self._own_folder = own_path.parent
        self._steps = 0
        self._work_bytes = 0
        self._depth = 0

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
            raise CannotFollow(value.reason)
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

    def path(self, value: Value) -> PurePosixPath:
        """A value as a path below the root, as the script's own folder sees it.

        Raises:
            CannotFollow: it is no path, or leads out of the folder.
        """
        if not isinstance(value, (str, PurePosixPath)):
            raise CannotFollow("a path that is not a text")
        path = value if isinstance(value, PurePosixPath) else self._own_folder / value
        parts: list[str] = []
        for part in path.parts:
            if part == "..":
                if not parts:
                    raise CannotFollow("a path that leads out of the folder")
                parts.pop()
            else:
                parts.append(part)
        return PurePosixPath(*parts)

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
        if isinstance(owner, PurePosixPath) and node.attr in _PATH_PARTS:
            return getattr(owner, node.attr)
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
        if dotted in _SPECIAL_CALLS:
            return _SPECIAL_CALLS[dotted](self, *arguments, **named)
        if dotted in _PATH_CALLS and isinstance(arguments[0], str | PurePosixPath):
            return PurePosixPath(self.path(arguments[0]), *arguments[1:])
        if dotted in FUNCTIONS:
            return FUNCTIONS[dotted](*arguments, **named)
        raise CannotFollow(f"the call of {dotted}")

    def _call_value(self, func: ast.expr, arguments: list[Value], named: dict[str, Value]) -> Value:
        """A call of a method, or of a function that the script itself holds."""
        if not isinstance(func, ast.Attribute):
            return self._enter(self.value(func), arguments, named)
        owner = self.value(func.value)
        if isinstance(owner, PurePosixPath):
            return self._path_method(owner, func.attr, arguments)
        if isinstance(owner, OpenFile):
            return self._file_method(owner, func.attr, arguments)
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

    def _call_map(self, function: Value, values: Value) -> Value:
        return [self._enter(function, [value], {}) for value in values]

    def _call_str(self, value: Value = "", *rest: Value, **named: Value) -> Value:
        return (
            value if isinstance(value, PurePosixPath) else FUNCTIONS["str"](value, *rest, **named)
        )

    def _call_dirname(self, path: Value) -> Value:
        return self.path(path).parent

    def _call_basename(self, path: Value) -> Value:
        return self.path(path).name

    def _call_exists(self, path: Value) -> Value:
        self.files.content(self.path(path))
        return True

    def _call_folder(self, *_: Value, **__: Value) -> Value:
        return self._own_folder

    def _call_temporary(self, *_: Value, **__: Value) -> Value:
        return PurePosixPath("temporary folder")

    def _call_bytes_io(self, content: bytes) -> Value:
        return OpenFile(PurePosixPath("memory"), content, is_text=False)

    def _call_open(self, path: Value, mode: str = "r", *_: Value, **__: Value) -> Value:
        place = self.path(path)
        content = b"" if mode[:1] in "wx" else self.files.content(place)
        return OpenFile(place, content, is_text="b" not in mode)

    def _path_method(self, path: PurePosixPath, name: str, arguments: list[Value]) -> Value:
        if name in _SAME_PATH:
            return path
        if name in ("with_suffix", "with_name", "joinpath", "with_stem"):
            return getattr(path, name)(*arguments)
        if name in ("replace", "removesuffix"):  # `__file__` is a text to its script
            return PurePosixPath(METHODS[str, name](str(path), *arguments))
        if name in ("write_text", "write_bytes"):
            self.files.written[self.path(path)] = _encoded(arguments[0])
            return None
        content = self.files.content(self.path(path))
        if name in ("read_text", "read_bytes"):
            return content if name == "read_bytes" else content.decode("utf-8", "replace")
        if name == "open":
            return self._call_open(path, *arguments)
        if name in ("exists", "is_file"):
            return True
        raise CannotFollow(f"the method {name!r} of a path")

    def _file_method(self, file: OpenFile, name: str, arguments: list[Value]) -> Value:
        if name == "write":
            written = self.files.written.get(file.path, b"") + _encoded(arguments[0])
            self.files.written[file.path] = bounded(written)
            return None
        if name == "seek":
            ends = (0, file.position, len(file.content))
            file.position = max(0, arguments[0] + ends[arguments[1] if len(arguments) > 1 else 0])
            return file.position
        if name not in ("read", "readlines", "getvalue"):
            raise CannotFollow(f"the method {name!r} of a file")
        end = file.position + arguments[0] if arguments and arguments[0] else len(file.content)
        content = file.content[file.position : end]
        file.position = end
        read = content.decode("utf-8", "replace") if file.is_text else content
        return read.splitlines(keepends=True) if name == "readlines" else read


_SPECIAL_CALLS: Mapping[str, Callable[..., Value]] = {
    "map": Evaluator._call_map,
    "str": Evaluator._call_str,
    "open": Evaluator._call_open,
    "io.open": Evaluator._call_open,
    "io.BytesIO": Evaluator._call_bytes_io,
    "os.path.dirname": Evaluator._call_dirname,
    "os.path.basename": Evaluator._call_basename,
    "os.path.exists": Evaluator._call_exists,
    "os.path.isfile": Evaluator._call_exists,
    "os.getcwd": Evaluator._call_folder,
    "pathlib.Path.cwd": Evaluator._call_folder,
    "tempfile.mkdtemp": Evaluator._call_temporary,
    "tempfile.gettempdir": Evaluator._call_temporary,
}


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


def _encoded(value: Value) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


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
