"""Code that a script carries packed → its text, by evaluating literal decode chains only.

The statements of a module are walked in order, names are bound to the values of what can be
evaluated (literal_evaluation.py), and each place that runs code (`exec`, `eval`, `runpy`) yields a
text or the reason why there is none. Nothing that was submitted is executed.
"""

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from verifier.reading.literal_evaluation import Closure, Evaluator, Symbol, Unknown, as_text
from verifier.reading.literal_files import Files
from verifier.reading.literal_functions import (
    CannotFollow,
    LeavesFolder,
    MissingLibrary,
    Value,
)

RunnerKind = Literal["code", "path", "second path"]
"""What the argument of a place that runs code is: the code, a file's path, a name and a path."""

_RUNNERS: Mapping[str, RunnerKind] = {
    "exec": "code",
    "eval": "code",
    "builtins.exec": "code",
    "builtins.eval": "code",
    "__builtins__.exec": "code",
    "__builtins__.eval": "code",
    "marshal.loads": "code",
    "types.CodeType": "code",
    "runpy.run_path": "path",
    "importlib.util.spec_from_file_location": "second path",
    "importlib.machinery.SourceFileLoader": "second path",
}
RUNNER_NAMES = {
    *("exec", "eval", "builtins", "__builtins__", "marshal", "CodeType", "runpy", "run_path"),
    *("spec_from_file_location", "SourceFileLoader", "__import__", "import_module"),
}
"""A script that names none of these runs no other code."""
_MAX_STATEMENTS = 100_000
_MAX_CALL_DEPTH = 4


_Cause = Literal["library", "outside"]
"""Why a place cannot be read, where that says more than what its argument is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedCode:
    """The text of code that is run at `line`; `path` where it is a file of the folder."""

    line: int
    text: str
    path: PurePosixPath | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreadable:
    """A place that runs code which cannot be read, and the step that stops the reader."""

    kind: RunnerKind | _Cause
    line: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Unpacked:
    """All that a module runs beside its own text."""

    packed: tuple[PackedCode, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    written: tuple[PackedCode, ...] = ()  # Python files that it writes for itself


def unpack(tree: ast.Module, own_path: PurePosixPath, files: Files) -> Unpacked:
    """Follow each place of a module that runs code; `own_path` is what `__file__` says."""
    walker = _Walker(files, own_path)
    walker.run(tree.body)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and not walker.knows_all_of(node):
            walker.run_function(node)
    walker.give_up_on_the_rest(tree)
    python = [path for path in files.written if path.suffix == ".py"]
    written = (PackedCode(line=1, text=as_text(files.written[path]), path=path) for path in python)
    return Unpacked(
        packed=tuple(walker.packed),
        unreadable=tuple(walker.unreadable.values()),
        written=tuple(written),
    )


class _Walker:
    """Runs statements in order on what is known; both branches where a test is not."""

    def __init__(self, files: Files, own_path: PurePosixPath) -> None:
        self.packed: list[PackedCode] = []
        self.unreadable: dict[ast.Call, Unreadable] = {}
        self._followed: set[ast.Call] = set()
        self._loaders: dict[ast.FunctionDef, bool] = {}  # whether a function runs code
        self._evaluator = Evaluator(files, own_path)
        self._call_depth = 0
        self._statements_left = _MAX_STATEMENTS

    def run(self, statements: Iterable[ast.stmt]) -> None:
        for statement in statements:
            self._statements_left -= 1
            if self._is_spent():
                return
            method = getattr(self, f"_{type(statement).__name__.lower()}", self._other)
            method(statement)

    def _is_spent(self) -> bool:
        return self._statements_left < 0

    def knows_all_of(self, function: ast.FunctionDef) -> bool:
        """Whether every place in it that runs code was met already."""
        known = self._followed | self.unreadable.keys()
        return all(call in known for call, _ in self._runners(function))

    def give_up_on_the_rest(self, tree: ast.Module) -> None:
        """Whatever runs code and was met nowhere cannot be read."""
        reason = "a place that the statements before it do not lead to"
        for call, kind in self._runners(tree):
            if call in self._followed:
                continue
            bad = Unreadable(kind=kind, line=call.lineno, reason=reason)
            self.unreadable.setdefault(call, bad)

    def _runners(self, node: ast.AST) -> list[tuple[ast.Call, RunnerKind]]:
        calls = [call for call in ast.walk(node) if isinstance(call, ast.Call)]
        return [(c, kind) for c in calls if (kind := _RUNNERS.get(self._dotted(c)))]

    def run_function(self, function: ast.FunctionDef, call: ast.Call | None = None) -> None:
        """Its body with what is known of the arguments, so that what it runs is seen."""
        outside = self._evaluator.names
        inside = dict(outside)
        for parameter in function.args.args + function.args.kwonlyargs:
            inside[parameter.arg] = Unknown(f"the argument {parameter.arg!r}")
        if call is not None:
            for parameter, argument in zip(function.args.args, call.args, strict=False):
                inside[parameter.arg] = self._value_or_unknown(argument)
            for word in call.keywords:
                inside[word.arg or ""] = self._value_or_unknown(word.value)
        self._evaluator.names, self._call_depth = inside, self._call_depth + 1
        self.run(function.body)
        self._evaluator.names, self._call_depth = outside, self._call_depth - 1

    def _import(self, statement: ast.Import) -> None:
        for alias in statement.names:
            top = alias.name.partition(".")[0]
            bound = alias.name if alias.asname else top
            self._evaluator.names[alias.asname or top] = Symbol(bound)

    def _importfrom(self, statement: ast.ImportFrom) -> None:
        for alias in statement.names:
            dotted = f"{statement.module}.{alias.name}"
            self._evaluator.names[alias.asname or alias.name] = Symbol(dotted)

    def _functiondef(self, statement: ast.FunctionDef) -> None:
        self._evaluator.names[statement.name] = Closure(statement, self._evaluator.names)

    def _assign(self, statement: ast.Assign) -> None:
        self._look_for_runners(statement)
        if self._loads(statement.value):
            self._enter(statement.value)
        for target in statement.targets:
            self._bind(target, statement.value)

    def _annassign(self, statement: ast.AnnAssign) -> None:
        self._look_for_runners(statement)
        if statement.value is not None:
            self._bind(statement.target, statement.value)

    def _augassign(self, statement: ast.AugAssign) -> None:
        if isinstance(statement.target, ast.Name):
            name = ast.Name(id=statement.target.id, ctx=ast.Load())
            self._bind(statement.target, ast.BinOp(name, statement.op, statement.value))

    def _bind(self, target: ast.expr, expression: ast.expr) -> None:
        """Bind a name to a value, or take away the value that it had."""
        value = self._value_or_unknown(expression)
        try:
            self._evaluator.bind(target, value)
        except (TypeError, ValueError):  # an unknown, or too few of them, for a tuple of names
            for node in ast.walk(target):
                if isinstance(node, ast.Name):
                    self._evaluator.names[node.id] = Unknown(f"the value of {node.id!r}")

    def _value_or_unknown(self, expression: ast.expr) -> Value:
        try:
            return self._evaluator.value(expression)
        except CannotFollow as reason:
            return Unknown(str(reason), leaves_folder=isinstance(reason, LeavesFolder))

    def _with(self, statement: ast.With) -> None:
        for item in statement.items:
            if item.optional_vars is not None:
                self._bind(item.optional_vars, item.context_expr)
        self.run(statement.body)

    def _if(self, statement: ast.If) -> None:
        try:
            known = bool(self._evaluator.value(statement.test))
        except CannotFollow:
            self._either(statement.body, statement.orelse)
        else:
            self.run(statement.body if known else statement.orelse)

    def _either(self, *branches: Sequence[ast.stmt]) -> None:
        """Each branch from the same start; a name on which they differ is not known afterwards."""
        start, ends = self._evaluator.names, []
        for branch in branches:
            self._evaluator.names = dict(start)
            self.run(branch)
            ends.append(self._evaluator.names)
        names = set().union(*ends)
        for name in names:
            values = [end.get(name) for end in ends]
            same = all(value is values[0] for value in values)
            start[name] = values[0] if same else Unknown(f"{name!r}, which has two values")
        self._evaluator.names = start

    def _try(self, statement: ast.Try) -> None:
        self.run(statement.body)
        for handler in statement.handlers:
            names = self._evaluator.names
            self._evaluator.names = dict(names)
            self.run(handler.body)
            self._evaluator.names = names
        self.run((*statement.orelse, *statement.finalbody))

    def _for(self, statement: ast.For) -> None:
        try:
            items = list(self._evaluator.value(statement.iter))
        except (CannotFollow, TypeError):
            self.run(statement.body)
            return
        for item in items:
            self._evaluator.bind(statement.target, item)
            self.run(statement.body)
            if self._is_spent():
                return

    def _while(self, statement: ast.While) -> None:
        self.run(statement.body)

    def _expr(self, statement: ast.Expr) -> None:
        is_runner = self._look_for_runners(statement)
        if not is_runner and not self._enter(statement.value):
            self._value_or_unknown(statement.value)

    def _return(self, statement: ast.Return) -> None:
        self._look_for_runners(statement)
        self._enter(statement.value)

    def _enter(self, call: ast.expr | None) -> bool:
        """Run a function of the module where it is called; whether it is one."""
        function = self._own_function(call)
        if function is None or self._call_depth >= _MAX_CALL_DEPTH:
            return False
        assert isinstance(call, ast.Call)
        self.run_function(function, call)
        return True

    def _loads(self, call: ast.expr) -> bool:
        """Whether an assigned value comes of a function of the module that runs code."""
        function = self._own_function(call)
        if function is not None and function not in self._loaders:
            self._loaders[function] = bool(self._runners(function))
        return function is not None and self._loaders[function]

    def _own_function(self, call: ast.expr | None) -> ast.FunctionDef | None:
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            return None
        called = self._evaluator.names.get(call.func.id)
        node = called.node if isinstance(called, Closure) else None
        return node if isinstance(node, ast.FunctionDef) else None

    def _other(self, statement: ast.stmt) -> None:
        if not isinstance(statement, (ast.ClassDef, ast.AsyncFunctionDef)):
            self._look_for_runners(statement)

    def _look_for_runners(self, statement: ast.stmt) -> bool:
        """Follow each place in a simple statement that runs code; whether there is one."""
        runners = self._runners(statement)
        for call, kind in runners:
            try:
                self.packed.append(self._run_code(call, kind))
                self._followed.add(call)
            except MissingLibrary as reason:
                self._add_unreadable(call, "library", reason)
            except LeavesFolder as reason:
                self._add_unreadable(call, "outside", reason)
            except (CannotFollow, IndexError) as reason:
                self._add_unreadable(call, kind, reason)
        return bool(runners)

    def _add_unreadable(self, call: ast.Call, kind: RunnerKind | _Cause, reason: Exception) -> None:
        self.unreadable[call] = Unreadable(kind=kind, line=call.lineno, reason=str(reason))

    def _dotted(self, call: ast.Call) -> str:
        try:
            return self._evaluator.dotted(call.func) or ""
        except CannotFollow:
            return ""

    def _run_code(self, call: ast.Call, kind: RunnerKind) -> PackedCode:
        argument = call.args[1 if kind.startswith("second") else 0]
        value = self._evaluator.value(argument)
        if isinstance(value, Symbol):
            raise CannotFollow(f"the value of {value.dotted!r}")
        if kind == "code":
            return PackedCode(line=call.lineno, text=as_text(value))
        path = self._evaluator.files.path(value)
        content = self._evaluator.files.content(path)
        return PackedCode(line=call.lineno, text=as_text(content), path=path)
