"""Statements: both sides of an open branch are followed, a loop's body once."""

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import PurePosixPath

from verifier.data_flow import constants
from verifier.data_flow.bindings import Bindings, Owner
from verifier.data_flow.calls import Calls
from verifier.data_flow.expressions import SIZE_TESTS, taken_off
from verifier.data_flow.limits import limit_mark
from verifier.data_flow.rounds import num_rounds, only_counts, range_of
from verifier.data_flow.settings import Settings, logged_constant
from verifier.data_flow.values import (
    BUCKETS,
    COUNT,
    DISPUTED,
    EARLIER,
    GATE,
    HASHED,
    HINDSIGHT,
    LOOP,
    LOSS,
    PIECE,
    PIECE_LENGTH,
    RANK,
    TARGET_PROBABILITY,
    TOKEN_CLASS,
    UNKNOWN,
    VALIDATION,
    Class,
    Function,
    Scope,
    Value,
    join,
)
from verifier.reading.program import Module

_FUNCTION_NODES = (ast.FunctionDef, ast.AsyncFunctionDef)

_FEWEST_HEARD = 6
_NO_CLASS_TEST = (ast.Is, ast.IsNot, ast.Lt, ast.LtE, ast.Gt, ast.GtE)  # absence, or a size


@dataclass(slots=True)
class _Frame:
    """One function call: what it returned so far."""

    returned: list[Value] = field(default_factory=list)


class Interpreter(Calls):
    """Follows modules, functions and classes statement by statement."""

    def __init__(self, modules: Mapping[str, Module], settings: Settings) -> None:
        super().__init__(modules, settings)
        self._module_scopes: dict[str, Scope] = {}
        self.run_in_calls: set[str] = set()  # modules that were followed where they are run
        self._frames: list[_Frame] = []
        self._variable_names: dict[ast.AST, Mapping[str, object]] = {}
        self._bindings: dict[str, Bindings] = {}  # by module
        self._attributes_set: set[str] = set()
        self._heard: dict[tuple[str, str], bool] = {}  # by module and printing function

    def run_module(self, module: Module, name: str = "__main__") -> Scope:
        """Follow a module once, and anew where it is run as a script; else return its names."""
        if module.name in self._module_scopes and name != "__main__":
            return self._module_scopes[module.name]
        names = {"__name__": Value(constant=name)}
        outer, self.module_name = self.module_name, module.name
        self._bindings[module.name] = Bindings.of(module)
        self._note_attributes(module)
        scope = Scope(names=names, variable=self._assigned_twice(module.tree))
        self._module_scopes[module.name] = scope
        self.execute(module.tree.body, scope)
        self.module_name = outer
        return scope

    def run_body(self, function: Function, scope: Scope) -> Value:
        """Follow a function's body with its arguments bound."""
        if isinstance(function.node, ast.Lambda):
            return self.evaluate(function.node.body, scope)
        frame = _Frame()
        self._frames.append(frame)
        gates, self.gates = self.gates, []
        outer, self.module_name = self.module_name, self._module_of(function.scope)
        scope.variable = self._assigned_twice(function.node)
        self.execute(function.node.body, scope)
        self.module_name = outer
        self.gates = gates
        self._frames.pop()
        return join(frame.returned) if frame.returned else Value(constant=None)

    def execute(self, statements: Iterable[ast.stmt], scope: Scope) -> bool:
        """Follow statements; whether control surely leaves the block before its end."""
        for statement in statements:
            self.step()
            handler = getattr(self, f"_do_{type(statement).__name__.lower()}", None)
            if handler is not None and handler(statement, scope):
                return True
        return False

    def _module_of(self, scope: Scope) -> str:
        root = scope
        while root.parent is not None:
            root = root.parent
        owners = (name for name, owned in self._module_scopes.items() if owned is root)
        return next(owners, self.module_name)

    def _assigned_twice(self, node: Owner) -> Mapping[str, object]:
        """Names bound more than once, and what all bindings but the first bind them to."""
        if node not in self._variable_names:
            seen: set[str] = set()
            later: dict[str, object] = {}
            for name, constant in self._bindings[self.module_name].within(node):
                if name in seen:
                    later[name] = constant if later.get(name, constant) == constant else UNKNOWN
                seen.add(name)
            self._variable_names[node] = later
        return self._variable_names[node]

    def _note_attributes(self, module: Module) -> None:
        for node in module.of_kind(ast.Attribute):
            if isinstance(node.ctx, ast.Store):
                seen = node.attr in self._attributes_set
                (self.changing_attributes if seen else self._attributes_set).add(node.attr)

    def _do_expr(self, node: ast.Expr, scope: Scope) -> None:
        self.evaluate(node.value, scope)

    def _do_assign(self, node: ast.Assign, scope: Scope) -> None:
        outer, self.assigned = self.assigned, node.targets[0]
        value = self.evaluate(node.value, scope)
        self.assigned = outer
        if self.gates:
            value = value.view(self.gating(value))
        value = self.as_chosen(value)
        if off_the_end := taken_off(node.value):
            value = replace(value, taken_off=off_the_end)
        for target in node.targets:
            self.assign(target, self._as_logged(target, value), scope)

    def _do_annassign(self, node: ast.AnnAssign, scope: Scope) -> None:
        if node.value is not None:
            value = self.evaluate(node.value, scope)
            self.assign(node.target, self._as_logged(node.target, value), scope)

    def _as_logged(self, target: ast.expr, value: Value) -> Value:
        """A setting's value as the logs print it, where they do."""
        is_setting = isinstance(target, ast.Attribute) or not self._frames
        name = getattr(target, "attr", getattr(target, "id", ""))
        if not is_setting or value.has_structure:
            return value
        if name in self.settings.hyperparameters:
            logged = self.settings.hyperparameters[name]
            if logged is None:
                self.trace.reserves_time |= "reserve" in name.lower()  # different ones, not none
                return Value(marks=value.marks | {DISPUTED})
            value = replace(value, constant=logged_constant(logged), marks=value.marks - {DISPUTED})
        if "reserve" in name.lower() and isinstance(value.constant, int | float):
            self.trace.reserves_time = self.trace.reserves_time or value.constant > 0
        limit = limit_mark(name, value.constant)
        return replace(value, marks=value.marks | limit) if limit else value

    def _do_augassign(self, node: ast.AugAssign, scope: Scope) -> None:
        value = self.evaluate(node.value, scope)
        target = self.evaluate(node.target, scope)
        marks = value.all_marks() | self.gating(value)
        self.gradient_step(node, target, marks)
        if isinstance(node.op, ast.Add | ast.Sub):
            marks |= self.mixture(node, target, value)
        marks |= self.combine(node, node.op, target, value).marks
        if BUCKETS in value.marks and isinstance(node.op, ast.Add):
            self.update(node, marks, {target.identity}, is_table=True)
        if isinstance(node.target, ast.Subscript):
            base = self.evaluate(node.target.value, scope)
            self.note_table_write(node, base, self.evaluate(node.target.slice, scope))
            base.absorb(marks)
            target.absorb(marks)
        elif target.constant is not UNKNOWN:
            self.assign(node.target, Value(marks=marks), scope)
        else:
            target.absorb(marks)

    def _do_return(self, node: ast.Return, scope: Scope) -> bool:
        value = self.evaluate(node.value, scope) if node.value else Value(constant=None)
        if self._frames:
            self._frames[-1].returned.append(value)
        return True

    def _do_raise(self, node: ast.Raise, scope: Scope) -> bool:
        return True

    def _do_continue(self, node: ast.Continue, scope: Scope) -> bool:
        return True

    def _do_break(self, node: ast.Break, scope: Scope) -> bool:
        return True

    def _do_if(self, node: ast.If, scope: Scope) -> bool:
        test = self.evaluate(node.test, scope)
        known = constants.truth(test.constant)
        if node.body and isinstance(node.body[-1], ast.Raise):
            known = False  # the claimed run came to its end
        elif known is False and RANK not in test.marks and self._left_traces(node.body):
            known = True
        elif known is None and self.settings.trusts_silence and self._is_unheard(node.body):
            known = False
        if known is not None:
            return self.execute(node.body if known else node.orelse, scope)
        better = {mark for mark in test.marks if mark.startswith(HINDSIGHT)}
        gate = self._gate(node, test) | better
        before = dict(scope.names)
        self.gates.append(gate)
        self.choices.append((len(self.calls), self.choice(node, test.compared)))
        on_outcome = self.is_repeated and _asks_outcome(node.test, test)
        with self.inside_branch(test, on_outcome=on_outcome) as branch:
            leaves = self.execute(node.body, scope)
        if leaves:
            self.trace.ended_branches.add(branch)
        after, scope.names = scope.names, before
        with self.inside_branch(test, on_outcome=on_outcome) as otherwise:
            leaves_otherwise = self.execute(node.orelse, scope)
        if not self.is_repeated:
            self.trace.alternatives |= {branch: otherwise, otherwise: branch}
        self.gates.pop()
        self.choices.pop()
        if leaves and not leaves_otherwise and gate:
            self.gates.append(gate)  # the rest of the block runs only where the test failed
        if leaves and isinstance(node.body[-1], ast.Break):
            scope.names = self._merged(after, scope.names)  # they are seen behind the loop
        elif not leaves:
            scope.names = after if leaves_otherwise else self._merged(after, scope.names)
        return leaves and leaves_otherwise

    @staticmethod
    def _merged(one: dict[str, Value], other: dict[str, Value]) -> dict[str, Value]:
        merged = {**one, **other}
        for name in one.keys() & other.keys():
            if one[name] is not other[name]:
                merged[name] = join((one[name], other[name]))
        return merged

    def _gate(self, node: ast.If, test: Value) -> frozenset[str]:
        """The mark of a decision by what kind of token the present one is."""
        if isinstance(node.test, ast.Compare) and isinstance(node.test.ops[0], _NO_CLASS_TEST):
            return frozenset()
        loops = {mark for mark in test.marks if mark.startswith(LOOP)}
        earlier = {mark.removeprefix(EARLIER) for mark in test.marks if mark.startswith(EARLIER)}
        if not {TOKEN_CLASS, VALIDATION} <= test.marks or not loops - earlier:
            return frozenset()
        if test.marks & {
            COUNT,
            HASHED,
            PIECE,
            PIECE_LENGTH,
        }:  # what was seen before, not what stands here
            return frozenset()
        return frozenset({self.oddity(node, GATE, test.marks)})

    def _left_traces(self, statements: list[ast.stmt]) -> bool:
        """Whether the logs carry a text that only these statements would print."""
        calls = (n for s in statements for n in ast.walk(s) if isinstance(n, ast.Call))
        printed = {t for n in calls for t in _literal_texts(n) if self.settings.is_left_by_run(t)}
        return any(not self._is_elsewhere(text, statements) for text in printed)

    def _is_unheard(self, statements: list[ast.stmt]) -> bool:
        """Whether these statements print a text that no log carries, though others are there."""
        for statement in statements:
            call = statement.value if isinstance(statement, ast.Expr) else None
            if not isinstance(call, ast.Call):
                continue
            texts = [text for text in _literal_texts(call) if self.settings.is_telling(text)]
            if texts and not any(map(self.settings.is_printed, texts)):
                return self._is_heard(_name_of(call))
        return False

    def _is_heard(self, printer: str) -> bool:
        """Whether the logs carry several texts that a function of that name prints."""
        key = (self.module_name, printer)
        if key not in self._heard:
            module = self.modules[self.module_name]
            calls = (call for call in module.of_kind(ast.Call) if _name_of(call) == printer)
            printed = (c for c in calls if any(map(self.settings.is_printed, _literal_texts(c))))
            self._heard[key] = sum(1 for _ in islice(printed, _FEWEST_HEARD)) == _FEWEST_HEARD
        return self._heard[key]

    def _is_elsewhere(self, text: str, statements: list[ast.stmt]) -> bool:
        """Whether other lines of the module hold the text as well."""
        module = self.modules.get(self.module_name)
        first, last = statements[0].lineno, statements[-1].end_lineno or 0
        here = "\n".join(self._lines.get(self.module_name, [])[first - 1 : last])
        return module is not None and module.text.count(text) > here.count(text)

    def _do_for(self, node: ast.For, scope: Scope) -> None:
        source = self.evaluate(node.iter, scope)
        rounds = num_rounds(node.iter, [self._constant_of(a, scope) for a in range_of(node.iter)])
        if rounds == 0:
            return
        moves_on = not only_counts(node.iter)
        with self.inside_loop(node, advances_by_itself=moves_on, num_rounds=rounds) as mark:
            gates = list(self.gates)
            element = source.any_element()
            if element.items is not None:
                marks = source.marks | {mark}
                element = Value(items=[item.view(marks) for item in element.items])
            else:
                element = element.view(source.marks | {mark})
                element.constant = UNKNOWN
            self.assign(node.target, element, scope)
            self.execute(node.body, scope)
            self.gates = gates
        before = dict(scope.names)
        self.execute(node.orelse, scope)
        scope.names = self._merged(before, scope.names)

    def _constant_of(self, node: ast.expr, scope: Scope) -> object:
        return self.evaluate(node, scope).constant

    def _do_while(self, node: ast.While, scope: Scope) -> None:
        if constants.truth(self.evaluate(node.test, scope).constant) is False:
            return
        with self.inside_loop(node, advances_by_itself=True):
            gates = list(self.gates)
            self.execute(node.body, scope)
            self.gates = gates

    def _do_with(self, node: ast.With, scope: Scope) -> bool:
        for item in node.items:
            value = self.evaluate(item.context_expr, scope)
            if item.optional_vars is not None:
                self.assign(item.optional_vars, value, scope)
        return self.execute(node.body, scope)

    def _do_try(self, node: ast.Try, scope: Scope) -> bool:
        leaves = self.execute([*node.body, *node.orelse], scope)
        return self.execute(node.finalbody, scope) or leaves

    def _do_global(self, node: ast.Global | ast.Nonlocal, scope: Scope) -> None:
        scope.outer_names |= set(node.names)

    _do_nonlocal = _do_global

    def _do_functiondef(self, node: ast.FunctionDef, scope: Scope) -> None:
        scope.assign(node.name, Value(function=Function(node=node, scope=scope)))

    def _do_classdef(self, node: ast.ClassDef, scope: Scope) -> None:
        inner = Scope(parent=scope)
        frames, self._frames = self._frames, []
        self.execute(node.body, inner)
        self._frames = frames
        bases = [self.evaluate(base, scope) for base in node.bases]
        inherited = [base.class_ for base in bases if base.class_ is not None]
        attributes: dict[str, Value] = {}
        for parent in inherited:
            attributes |= parent.attributes
        names = [base.name for base in bases]
        class_ = Class(
            name=node.name,
            attributes=attributes | inner.names,
            is_module=any(n.endswith("Module") for n in names)
            or any(c.is_module for c in inherited),
            is_optimizer=any(n.endswith("Optimizer") for n in names)
            or any(c.is_optimizer for c in inherited),
        )
        self.attributes |= {n: v for n, v in inner.names.items() if v.function is None}
        scope.assign(node.name, Value(class_=class_))

    def _do_import(self, node: ast.Import, scope: Scope) -> None:
        for alias in node.names:
            name = alias.name if alias.asname else alias.name.partition(".")[0]
            bound = alias.asname or name
            own = self._own_module(alias.name)
            if own is None:
                scope.assign(bound, Value(name=name))
            else:
                scope.assign(bound, Value(attributes=self.run_module(own, own.name).names))

    def _do_importfrom(self, node: ast.ImportFrom, scope: Scope) -> None:
        own = self._own_module(node.module or "")
        names = self.run_module(own, own.name).names if own is not None else {}
        for alias in node.names:
            bound = alias.asname or alias.name
            if alias.name == "*":
                scope.names |= names
            elif alias.name in names:
                scope.assign(bound, names[alias.name])
            else:
                scope.assign(bound, Value(name=f"{node.module or ''}.{alias.name}".strip(".")))

    def run_here(self, node: ast.Call, scope: Scope) -> None:
        """Follow code that was packed and is run at a call, under the names around it."""
        place = self.module_name, node.lineno
        for module in self.modules.values():
            if module.run_at == place and module.name not in self.run_in_calls:
                self.run_in_calls.add(module.name)
                self._bindings[module.name] = Bindings.of(module)
                self._note_attributes(module)
                outer, self.module_name = self.module_name, module.name
                self.execute(module.tree.body, scope)
                self.module_name = outer

    def module_named(self, path: str) -> Value | None:
        """A module of the submission by its file's path or its dotted name."""
        own = self._own_module(path.removesuffix(".py").replace("/", "."))
        return None if own is None else Value(attributes=self.run_module(own, own.name).names)

    def _own_module(self, dotted: str) -> Module | None:
        wanted = dotted.rpartition(".")[2]
        for module in self.modules.values():
            if PurePosixPath(module.name.split(" ")[0]).stem == wanted:
                return module
        return None


def _asks_outcome(node: ast.expr, test: Value) -> bool:
    """Whether the realised token's probability is held against a threshold, other than none."""
    if VALIDATION not in test.marks or not test.marks & {LOSS, TARGET_PROBABILITY}:
        return False
    compared = [part for part in ast.walk(node) if isinstance(part, ast.Compare)]
    bounds = [c.comparators[0] for c in compared if isinstance(c.ops[0], SIZE_TESTS)]
    return any(getattr(bound, "value", 1) != 0 for bound in bounds)


def _name_of(call: ast.Call) -> str:
    """The name of the function called, without what stands before the last dot."""
    return str(getattr(call.func, "attr", getattr(call.func, "id", "")))


def _literal_texts(node: ast.Call) -> Iterable[str]:
    """The literal pieces of text among a call's arguments."""
    for argument in node.args:
        parts = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
        for part in parts:
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.value
