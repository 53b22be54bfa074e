"""Expressions, followed by their marks; what a call means stands in calls.py."""

import ast
import math
import re
from collections.abc import Callable, Mapping
from typing import ClassVar

from verifier.data_flow import constants
from verifier.data_flow.places import DISTRIBUTIONS, ONE_NUMBER, Places
from verifier.data_flow.settings import HOLE
from verifier.data_flow.values import (
    COUNT,
    EARLIER,
    ENTROPY,
    FILE_NAME,
    FROM,
    HASHED,
    HINDSIGHT,
    LOG_NORM,
    LOOP,
    LOSS,
    MIXTURE,
    PICKED,
    PIECE_LENGTH,
    SCRAMBLED,
    SELF_WEIGHTED,
    SPREAD,
    SUMMED,
    TARGET_PROBABILITY,
    TRAINING,
    UNKNOWN,
    UP_TO,
    VALIDATION,
    VOCABULARY,
    Function,
    Scope,
    Value,
    join,
)

_VALIDATION_FILES = re.compile(r"(?i)(?:fineweb|_|\b)val(?:idation)?_.{0,40}\.bin|fineweb_val")
_TRAINING_FILES = re.compile(r"(?i)(?:fineweb|_|\b)train_.{0,40}\.bin|fineweb_train")
_WORD = re.compile(r"[A-Za-z]{2}")
_SCRAMBLING = (ast.BitXor, ast.Mult, ast.LShift)
SIZE_TESTS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_FOLDING = (ast.BitAnd, ast.Mod)
_LOSS_AS_WEIGHT = {frozenset({LOSS}), frozenset({TARGET_PROBABILITY})}


def taken_off(node: ast.expr) -> str:
    """The code of what is subtracted: `stride` of `0 if first else max(length - stride, 0)`."""
    cases = [node]
    if isinstance(node, ast.IfExp):
        cases = [node.body, node.orelse]
    elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "max":
        cases = node.args
    cases = [case for case in cases if not isinstance(case, ast.Constant)]
    if len(cases) != 1:
        return ""
    case = cases[0]
    if case is not node:
        return taken_off(case)
    if isinstance(case, ast.BinOp) and isinstance(case.op, ast.Sub):
        return ast.unparse(case.right)
    return ""


class Expressions(Places):
    """Evaluates expressions; `call` is given by the class below it."""

    def call(self, node: ast.Call, scope: Scope) -> Value:
        """The value of a call."""
        raise NotImplementedError

    def evaluate(self, node: ast.expr, scope: Scope) -> Value:
        """The value of an expression, as far as its origin can be followed."""
        self.step()
        evaluator = self._EVALUATORS.get(type(node))
        if evaluator is not None:
            return evaluator(self, node, scope)
        return self._any_of_children(node, scope)

    def _any_of_children(self, node: ast.AST, scope: Scope) -> Value:
        marks: set[str] = set()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                marks |= self.evaluate(child, scope).marks
        return Value(marks=marks)

    def _constant(self, node: ast.Constant, scope: Scope) -> Value:
        if not isinstance(node.value, str):
            return Value(constant=node.value)
        return Value(constant=node.value, text=node.value, marks=_marks_of_name(node.value))

    def _name(self, node: ast.Name, scope: Scope) -> Value:
        value = scope.find(node.id)
        if value is None:
            return Value(name=node.id)
        return value

    def _attribute(self, node: ast.Attribute, scope: Scope) -> Value:
        return self.attribute_of(self.evaluate(node.value, scope), node.attr)

    def _subscript(self, node: ast.Subscript, scope: Scope) -> Value:
        base, index = self.evaluate(node.value, scope), self.evaluate(node.slice, scope)
        return self.item_of(node, base, index)

    def _slice(self, node: ast.Slice, scope: Scope) -> Value:
        marks: set[str] = set()
        for bound in (node.lower, node.upper, node.step):
            if bound is not None:
                marks |= self.evaluate(bound, scope).marks
        if node.lower is not None:
            marks |= self._bound(FROM, node.lower, scope)
        if node.upper is not None:
            marks |= self._bound(UP_TO, node.upper, scope)
        return Value(marks=marks)

    def _bound(self, prefix: str, node: ast.expr, scope: Scope) -> set[str]:
        """A bound of slices, told from others by what it leaves off at the end, else by name."""
        if isinstance(node, ast.BinOp) and isinstance(node.right, ast.Constant):
            node = node.left
        bound = taken_off(node)
        if not bound and isinstance(node, ast.Name):
            value = scope.find(node.id)
            bound = (value.taken_off if value else "") or node.id
        where = self.call_names[-1] if self.call_names else ""
        return {f"{prefix}{where}.{bound}"} if bound else set()

    def _binary(self, node: ast.BinOp, scope: Scope) -> Value:
        left, right = self.evaluate(node.left, scope), self.evaluate(node.right, scope)
        return self.combine(node, node.op, left, right)

    def combine(self, node: ast.AST, kind: ast.operator, left: Value, right: Value) -> Value:
        """Two values under an operator."""
        constant = constants.fold(kind, left.constant, right.constant)
        if left.items is not None and right.items is not None and isinstance(kind, ast.Add):
            return Value(items=[*left.items, *right.items])
        if isinstance(kind, ast.Mult) and (left.items or left.element) and not right.marks:
            return left
        marks = left.marks | right.marks
        marks |= _made_by(kind, left.marks, right.marks)
        if isinstance(kind, ast.Div) and LOSS in left.marks and PIECE_LENGTH in right.marks:
            marks.add(SPREAD)
        if isinstance(kind, ast.Div) and _is_share(left.marks, right.marks):
            marks -= {VOCABULARY}  # of one symbol alone; the others' shares add up to anything
            marks |= self.mixture(node, Value(marks=marks), Value(marks=marks - {LOSS}))
        if isinstance(kind, ast.Sub) and {PICKED, LOG_NORM} <= marks and LOSS not in marks:
            marks = self.score(node, marks - {PICKED, LOG_NORM})
        if isinstance(kind, ast.Sub) and right.constant is not UNKNOWN:
            marks |= {f"{EARLIER}{mark}" for mark in left.marks if mark.startswith(LOOP)}
        if isinstance(kind, ast.Add):
            marks |= self.mixture(node, left, right)
        element = left.element if isinstance(kind, ast.Add) else None
        text = right.text if isinstance(kind, ast.Div) else ""  # the last part of a path
        if isinstance(constant, str):
            text, marks = constant, marks | _marks_of_name(constant)
        if _WORD.search(left.text + right.text):
            marks.add(FILE_NAME)
        return Value(marks=marks, constant=constant, element=element, text=text)

    def mixture(self, node: ast.AST, left: Value, right: Value) -> set[str]:
        """The mark of adding the realised token's probability to one that was counted."""
        marks = left.marks | right.marks
        is_of_probabilities = TARGET_PROBABILITY in left.marks & right.marks
        is_of_losses = LOSS in marks and not is_of_probabilities and SELF_WEIGHTED not in marks
        if VOCABULARY in marks or is_of_losses:
            return set()
        for model, counted in ((left.marks, right.marks), (right.marks, left.marks)):
            if TARGET_PROBABILITY in model and COUNT in counted:
                return {self.oddity(node, MIXTURE, marks)}
        return set()

    def hindsight(self, node: ast.AST, values: list[Value]) -> set[str]:
        """The mark of choosing between two predictions by how they did on the realised token."""
        judged = [v.marks for v in values if v.marks & ONE_NUMBER and PIECE_LENGTH not in v.marks]
        marks = set().union(*judged) if judged else set()
        if len(judged) < 2 or VALIDATION not in marks:
            return set()
        return {self.oddity(node, HINDSIGHT, marks)}

    def _unary(self, node: ast.UnaryOp, scope: Scope) -> Value:
        value = self.evaluate(node.operand, scope)
        known = constants.truth(value.constant)
        if isinstance(node.op, ast.Not):
            constant = UNKNOWN if known is None else not known
            return Value(marks=set(value.marks), constant=constant, compared=value.compared)
        if isinstance(node.op, ast.USub) and isinstance(value.constant, int | float):
            return Value(marks=set(value.marks), constant=-value.constant)
        return Value(marks=set(value.marks))

    def _boolean(self, node: ast.BoolOp, scope: Scope) -> Value:
        decisive = isinstance(node.op, ast.Or)
        marks: set[str] = set()
        values: list[Value] = []
        for operand in node.values:
            value = self.evaluate(operand, scope)
            values.append(value)
            marks |= value.marks
            if constants.truth(value.constant) is decisive:
                return Value(marks=marks, constant=value.constant)
        known = all(value.constant is not UNKNOWN for value in values)
        joined = join(values)
        joined.constant = values[-1].constant if known else UNKNOWN
        joined.compared = frozenset[str]().union(*(value.compared for value in values))
        return joined

    def _compare(self, node: ast.Compare, scope: Scope) -> Value:
        values = [self.evaluate(part, scope) for part in (node.left, *node.comparators)]
        marks = set().union(*(value.marks for value in values))
        marks -= {SCRAMBLED, HASHED}  # a yes or no is no key
        if COUNT in marks and isinstance(node.ops[0], SIZE_TESTS):
            marks |= self.hindsight(node, values)
        constant: object = UNKNOWN
        if len(values) == 2:
            one, other = (self._comparable(value) for value in values)
            constant = constants.fold(node.ops[0], one, other)
        is_of_sizes = isinstance(node.ops[0], SIZE_TESTS) and not any(map(_is_threshold, values))
        compared = frozenset(marks) if is_of_sizes else frozenset[str]()
        return Value(marks=marks, constant=constant, compared=compared)

    @staticmethod
    def _comparable(value: Value) -> object:
        if value.items is None or any(item.constant is UNKNOWN for item in value.items):
            return value.constant
        return tuple(item.constant for item in value.items)

    def _conditional(self, node: ast.IfExp, scope: Scope) -> Value:
        test = self.evaluate(node.test, scope)
        known = constants.truth(test.constant)
        if known is False and self.is_told(node.body):
            known = True  # by its log the claimed run had it set
            if isinstance(node.test, ast.Name | ast.Attribute):
                self.assign(node.test, Value(constant=True, marks=test.marks), scope)
        if known is not None:
            return self.evaluate(node.body if known else node.orelse, scope)
        values = [self.evaluate(part, scope) for part in (node.body, node.orelse)]
        chosen = self.choice(node, test.compared)
        return join(values).view(chosen) if chosen else join(values)

    def _sequence(self, node: ast.Tuple | ast.List | ast.Set, scope: Scope) -> Value:
        return Value(items=[self.evaluate(item, scope) for item in node.elts])

    def _mapping(self, node: ast.Dict, scope: Scope) -> Value:
        attributes: dict[str, Value] = {}
        marks: set[str] = set()
        for key, item in zip(node.keys, node.values, strict=True):
            value = self.evaluate(item, scope)
            marks |= value.all_marks()
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                attributes[key.value] = value
            elif key is not None:
                marks |= self.evaluate(key, scope).marks
        return Value(marks=marks, attributes=attributes, is_mapping=True)

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, scope: Scope
    ) -> Value:
        inner = Scope(parent=scope)
        marks: set[str] = set()
        for generator in node.generators:
            source = self.evaluate(generator.iter, inner)
            marks |= source.marks
            self.assign(generator.target, source.any_element(), inner)
            for condition in generator.ifs:
                self.evaluate(condition, inner)
        if isinstance(node, ast.DictComp):
            self.evaluate(node.key, inner)
            return Value(marks=marks, element=self.evaluate(node.value, inner))
        return Value(marks=marks, element=self.evaluate(node.elt, inner))

    def _joined_text(self, node: ast.JoinedStr, scope: Scope) -> Value:
        parts = [self.evaluate(part, scope) for part in node.values]
        marks = set().union(*(part.marks for part in parts)) if parts else set()
        text = "".join(part.text or HOLE for part in parts)
        return Value(marks=marks | _marks_of_name(text), text=text)

    def _formatted(self, node: ast.FormattedValue, scope: Scope) -> Value:
        value = self.evaluate(node.value, scope)
        text = value.constant if isinstance(value.constant, str) else ""
        return Value(marks=value.all_marks(), text=text)

    def _lambda(self, node: ast.Lambda, scope: Scope) -> Value:
        return Value(function=Function(node=node, scope=scope))

    def _walrus(self, node: ast.NamedExpr, scope: Scope) -> Value:
        value = self.evaluate(node.value, scope)
        self.assign(node.target, value, scope)
        return value

    def _starred(self, node: ast.Starred, scope: Scope) -> Value:
        return self.evaluate(node.value, scope)

    def _call(self, node: ast.Call, scope: Scope) -> Value:
        return self.call(node, scope)

    _EVALUATORS: ClassVar[Mapping[type, Callable[..., Value]]] = {
        ast.Constant: _constant,
        ast.Name: _name,
        ast.Attribute: _attribute,
        ast.Subscript: _subscript,
        ast.Slice: _slice,
        ast.BinOp: _binary,
        ast.UnaryOp: _unary,
        ast.BoolOp: _boolean,
        ast.Compare: _compare,
        ast.IfExp: _conditional,
        ast.Tuple: _sequence,
        ast.List: _sequence,
        ast.Set: _sequence,
        ast.Dict: _mapping,
        ast.ListComp: _comprehension,
        ast.SetComp: _comprehension,
        ast.GeneratorExp: _comprehension,
        ast.DictComp: _comprehension,
        ast.JoinedStr: _joined_text,
        ast.FormattedValue: _formatted,
        ast.Lambda: _lambda,
        ast.NamedExpr: _walrus,
        ast.Starred: _starred,
        ast.Call: _call,
    }


def _marks_of_name(text: str) -> set[str]:
    """What a text says of the data that lie under it as a name."""
    if _VALIDATION_FILES.search(text):
        return {VALIDATION, FILE_NAME}
    return {TRAINING, FILE_NAME} if _TRAINING_FILES.search(text) else set()


def _is_threshold(value: Value) -> bool:
    """Whether a size is known beforehand; infinity is what the best of several begins with."""
    constant = value.constant
    return constant is not UNKNOWN and not (isinstance(constant, float) and math.isinf(constant))


def _is_share(counted: set[str], total: set[str]) -> bool:
    """Whether one symbol's hashed count is divided by another total than that of all symbols."""
    is_of_one = {COUNT, HASHED, PICKED, VOCABULARY} <= counted
    return is_of_one and VALIDATION in total and SUMMED not in total


def _made_by(kind: ast.operator, left: set[str], right: set[str]) -> set[str]:
    """What an operator makes of tokens, of a distribution and its log, of a loss as a weight."""
    made, marks = set(), left | right
    if VALIDATION in marks and isinstance(kind, _SCRAMBLING):
        made.add(SCRAMBLED)
    if VALIDATION in marks and SCRAMBLED in marks | made and isinstance(kind, _FOLDING):
        made.add(HASHED)
    if isinstance(kind, ast.Mult) and marks >= DISTRIBUTIONS and not marks & ONE_NUMBER:
        made.add(ENTROPY)
    if isinstance(kind, ast.Mult) and {ONE_NUMBER & left, ONE_NUMBER & right} == _LOSS_AS_WEIGHT:
        made.add(SELF_WEIGHTED)
    return made
