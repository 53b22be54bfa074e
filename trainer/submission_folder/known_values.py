"""Which values are known before a script runs, given the options that its recipe fixes.

A whole-program analysis by name. An option is known wherever it is read. A local name, an attribute
or a keyword-only parameter is known if all that it is ever bound to is known and the same: what is
assigned to it, its default, and every keyword argument of its name. Everything starts as possibly
known and is crossed out until nothing changes (optimistic constant propagation), so that a value
that is only handed on stays known. Names that are bound in any other way never are.
"""

import ast
import operator
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from trainer.recipe import Value

Literal = Value | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """A value that is the same in every run."""

    value: Literal


class NotYetBound:
    """A name of which no binding has been seen."""


class Unknown:
    """Depends on the run."""


NOT_YET, UNKNOWN = NotYetBound(), Unknown()
Finding = Known | NotYetBound | Unknown

COMPARISONS: dict[type[ast.cmpop], Callable[..., object]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}

Scope = ast.AST | None  # an outermost function or method; None: the top level
Variable = tuple[Scope | str, str]  # a local name's scope, or "attribute"; and the name
ATTRIBUTE = "attribute"


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownValues:
    """What is known of a program."""

    fixed: Mapping[str, Value]  # option's name → value
    scopes: dict[ast.AST, Scope] = field(default_factory=dict)
    bindings: dict[Variable, list[ast.expr | None]] = field(
        default_factory=lambda: defaultdict(list)
    )  # None: bound to something unknown
    functions: dict[str, list[ast.expr | None]] = field(
        default_factory=lambda: defaultdict(list)
    )  # name → what it returns, if that is all it does
    takers: dict[str, set[Variable]] = field(
        default_factory=lambda: defaultdict(set)
    )  # keyword → the fields and keyword-only parameters of that name
    values: dict[Variable, Finding] = field(default_factory=dict)

    def of(self, node: ast.expr) -> Finding:
        """What an expression evaluates to."""
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None as value):
                return Known(value=value)
            case ast.Attribute(attr=name):
                return self._attribute(name)
            case ast.Name(id=name):
                return self.values.get((self.scopes.get(node), name), UNKNOWN)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self.of(operand)
                return Known(value=not inner.value) if isinstance(inner, Known) else inner
            case ast.Compare():
                return self._comparison(node)
            case ast.BoolOp():
                return self._connection(node)
            case ast.IfExp():
                return self._choice(node)
            case ast.Call(func=ast.Name(id=name)):
                return self._meet(self.functions.get(name, [None]))
        return UNKNOWN

    def is_true(self, node: ast.expr) -> bool | None:
        """Whether an expression counts as true; None if that depends on the run."""
        if isinstance(node, ast.BoolOp):
            parts = [self.is_true(part) for part in node.values]
            ends = isinstance(node.op, ast.Or)
            if ends in parts:
                return ends
            return None if None in parts else not ends
        found = self.of(node)
        return bool(found.value) if isinstance(found, Known) else None

    def _attribute(self, name: str) -> Finding:
        if name in self.fixed:
            return Known(value=self.fixed[name])
        return self.values.get((ATTRIBUTE, name), UNKNOWN)

    def _comparison(self, node: ast.Compare) -> Finding:
        """Of a chain: false if any of its pairs is, true if all are."""
        sides = [self.of(side) for side in (node.left, *node.comparators)]
        found = [
            compared(operation, *pair)
            for operation, pair in zip(node.ops, pairwise(sides), strict=True)
        ]
        false = Known(value=False)
        if false in found:
            return false
        return UNKNOWN if UNKNOWN in found else NOT_YET if NOT_YET in found else found[0]

    def _connection(self, node: ast.BoolOp) -> Finding:
        """`and` ends at the first part that is false, `or` at the first that is true."""
        ends = isinstance(node.op, ast.Or)
        for part in node.values[:-1]:
            found = self.of(part)
            if not isinstance(found, Known) or bool(found.value) is ends:
                return found
        return self.of(node.values[-1])

    def _choice(self, node: ast.IfExp) -> Finding:
        test = self.of(node.test)
        if isinstance(test, Known):
            return self.of(node.body if test.value else node.orelse)
        return test if test is NOT_YET else self._meet([node.body, node.orelse])

    def _meet(self, nodes: Sequence[ast.expr | None]) -> Finding:
        """The one value that all of them have, if so."""
        met: Finding = NOT_YET
        for node in nodes:
            found = UNKNOWN if node is None else self.of(node)
            if met is NOT_YET:
                met = found
            elif found is not NOT_YET and (
                not isinstance(found, Known)
                or not isinstance(met, Known)
                or (type(found.value), found.value) != (type(met.value), met.value)
            ):
                return UNKNOWN
        return met

    def settle(self) -> None:
        """Cross out what is not known until nothing changes."""
        self.values.update(dict.fromkeys(self.bindings, NOT_YET))
        changed = True
        while changed:
            changed = False
            for variable, nodes in self.bindings.items():
                found = self._meet(nodes)
                if found != self.values[variable]:
                    self.values[variable], changed = found, True
        for variable, found in self.values.items():
            if found is NOT_YET:
                self.values[variable] = UNKNOWN


def compared(operation: ast.cmpop, left: Finding, right: Finding) -> Finding:
    """Whether a comparison holds."""
    compare = COMPARISONS.get(type(operation))
    if compare is None or UNKNOWN in (left, right):
        return UNKNOWN
    if not isinstance(left, Known) or not isinstance(right, Known):
        return NOT_YET
    try:
        return Known(value=bool(compare(left.value, right.value)))
    except TypeError:
        return UNKNOWN


def known_values(trees: Sequence[ast.Module], fixed: Mapping[str, Value]) -> KnownValues:
    """What is known of the program that these modules make.

    Args:
        trees: all of its modules.
        fixed: option's name → value; no other attribute has such a name.
    """
    known = KnownValues(fixed=fixed)
    for tree in trees:
        for scope, nodes in _scopes(tree):
            for node in nodes:
                known.scopes[node] = scope
                _bind(known, node, scope)
    for node in known.scopes:
        if isinstance(node, ast.keyword) and node.arg in known.takers:
            for variable in known.takers[node.arg]:
                known.bindings[variable].append(node.value)
    known.settle()
    return known


def _scopes(tree: ast.Module) -> Iterator[tuple[Scope, Iterator[ast.AST]]]:
    """The outermost functions and methods with all that they hold, and the rest."""
    rest: list[ast.AST] = []
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef):
            rest.append(statement)
            for member in [*statement.body, *statement.decorator_list, *statement.bases]:
                if isinstance(member, ast.FunctionDef):
                    yield member, ast.walk(member)
                else:
                    rest += ast.walk(member)
        elif isinstance(statement, ast.FunctionDef):
            yield statement, ast.walk(statement)
        else:
            rest += ast.walk(statement)
    yield None, iter(rest)


def _bind(known: KnownValues, node: ast.AST, scope: Scope) -> None:
    match node:
        case ast.FunctionDef():
            _bind_function(known, node, scope)
        case ast.ClassDef():
            _bind_fields(known, node)
        case ast.Assign(targets=[target], value=value):
            _bind_target(known, target, value, scope)
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            _bind_target(known, target, value, scope)
        case ast.Assign(targets=targets):
            for target in targets:
                _bind_target(known, target, None, scope)
        case ast.AugAssign() | ast.For() | ast.NamedExpr() | ast.comprehension():
            _bind_target(known, node.target, None, scope)
        case ast.withitem(optional_vars=ast.expr() as target):
            _bind_target(known, target, None, scope)
        case ast.ExceptHandler(name=str() as name) | ast.MatchAs(name=str() as name):
            known.bindings[scope, name].append(None)


def _bind_target(
    known: KnownValues, target: ast.expr, value: ast.expr | None, scope: Scope
) -> None:
    match target, value:
        case ((ast.Name() | ast.Attribute()), _):
            known.bindings[_variable(target, scope)].append(value)
        case ast.Tuple(elts=names), ast.Tuple(elts=values) if len(names) == len(values):
            for one, its_value in zip(names, values, strict=True):
                _bind_target(known, one, its_value, scope)
        case _:
            for name in ast.walk(target):
                if isinstance(name, ast.Name | ast.Attribute) and isinstance(name.ctx, ast.Store):
                    known.bindings[_variable(name, scope)].append(None)


def _variable(target: ast.Name | ast.Attribute, scope: Scope) -> Variable:
    return (ATTRIBUTE, target.attr) if isinstance(target, ast.Attribute) else (scope, target.id)


def _bind_function(known: KnownValues, node: ast.FunctionDef, scope: Scope) -> None:
    arguments = node.args
    for arg in [*arguments.posonlyargs, *arguments.args, arguments.vararg, arguments.kwarg]:
        if arg is not None:
            known.bindings[scope, arg.arg].append(None)
    for arg, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        known.bindings[scope, arg.arg] += [] if default is None else [default]
        known.takers[arg.arg].add((scope, arg.arg))
    returned = _returned(node)
    known.functions[node.name].append(returned)
    is_property = any(isinstance(d, ast.Name) and d.id == "property" for d in node.decorator_list)
    known.bindings[ATTRIBUTE, node.name].append(returned if is_property else None)


def _returned(node: ast.FunctionDef) -> ast.expr | None:
    """What a function returns, if that is all it does."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    if len(body) == 1 and isinstance(body[0], ast.Return) and not node.args.kwonlyargs:
        return body[0].value
    return None


def _bind_fields(known: KnownValues, node: ast.ClassDef) -> None:
    """A dataclass's fields are bound by its calls' keywords, other annotations by who knows."""
    for part in node.body:
        match part:
            case ast.AnnAssign(target=ast.Name(id=name), value=value):
                bound = known.bindings[ATTRIBUTE, name]
                bound += [value] if value or not is_dataclass(node) else []
                if is_dataclass(node):
                    known.takers[name].add((ATTRIBUTE, name))
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                known.bindings[ATTRIBUTE, name].append(value)


def is_dataclass(node: ast.ClassDef) -> bool:
    """Whether a class is decorated as a dataclass."""
    names = [d.func if isinstance(d, ast.Call) else d for d in node.decorator_list]
    return any(isinstance(name, ast.Name) and name.id == "dataclass" for name in names)
