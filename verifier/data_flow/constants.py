"""Constants of a script as far as they decide which branches run. Everything here is bounded."""

import ast
import operator
from collections.abc import Callable, Mapping

from verifier.data_flow.values import UNKNOWN, Value

MAX_TEXT = 1_000
MAX_NUMBER = 2**63

_OPERATORS: Mapping[type, Callable[[object, object], object]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.truediv,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: lambda one, other: one < other,  # type: ignore[operator]
    ast.LtE: lambda one, other: one <= other,  # type: ignore[operator]
    ast.Gt: lambda one, other: one > other,  # type: ignore[operator]
    ast.GtE: lambda one, other: one >= other,  # type: ignore[operator]
    ast.Is: lambda one, other: one is other,
    ast.IsNot: lambda one, other: one is not other,
    ast.In: lambda item, values: item in values,  # type: ignore[operator]
    ast.NotIn: lambda item, values: item not in values,  # type: ignore[operator]
}
_CONVERSIONS: Mapping[str, Callable[[object], object]] = {
    "int": lambda value: int(value),  # type: ignore[call-overload]
    "float": lambda value: float(value),  # type: ignore[arg-type]
    "bool": bool,
    "str": str,
    "bytes": lambda value: bytes(value if isinstance(value, tuple) else ()) or UNKNOWN,
}
_TEXT_METHODS = ("lower", "upper", "strip")


def fold(kind: ast.operator | ast.cmpop, one: object, other: object) -> object:
    """The result of an operator on two constants, UNKNOWN where either is or the result is big."""
    function = _OPERATORS.get(type(kind))
    is_joined = isinstance(one, str) and isinstance(other, str) and isinstance(kind, ast.Add)
    is_sequence = isinstance(one, str | tuple) and isinstance(kind, ast.operator)
    is_text_arithmetic = is_sequence and not is_joined
    if function is None or one is UNKNOWN or other is UNKNOWN or is_text_arithmetic:
        return UNKNOWN
    try:
        return _bounded(function(one, other))
    except (TypeError, ValueError, ArithmeticError):
        return UNKNOWN


def convert(name: str, value: object) -> object:
    """int(), float(), bool(), str() of a constant."""
    if value is UNKNOWN or name not in _CONVERSIONS:
        return UNKNOWN
    try:
        return _bounded(_CONVERSIONS[name](value))
    except (TypeError, ValueError, ArithmeticError):
        return UNKNOWN


def of_items(value: Value) -> object:
    """The constants of a sequence's items; UNKNOWN where one has none."""
    items = tuple(item.constant for item in value.items or [])
    return UNKNOWN if UNKNOWN in items else items


def text_method(name: str, value: object) -> object:
    """A text's lower(), upper() or strip(); what bytes decode to."""
    if isinstance(value, bytes) and name == "decode":
        return _bounded(value.decode(errors="replace"))
    known = isinstance(value, str) and name in _TEXT_METHODS
    return getattr(value, name)() if known else UNKNOWN


def truth(value: object) -> bool | None:
    """Whether a constant is true; None where it is not known."""
    return None if value is UNKNOWN else bool(value)


def _bounded(value: object) -> object:
    if isinstance(value, str | bytes) and len(value) > MAX_TEXT:
        return UNKNOWN
    if isinstance(value, int) and abs(value) > MAX_NUMBER:
        return UNKNOWN
    return value
