"""A convolution over time that is padded on both sides, so that a position sees the next tokens."""

import ast
from bisect import bisect
from collections.abc import Iterator, Mapping

from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.reading.called_names import finding_at
from verifier.reading.program import Module
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase

_TURNS = ("transpose", "permute", "swapaxes", "movedim")  # (B, T, D) → (B, D, T)
_OTHER_AXES = frozenset(("view", "reshape", "flatten", "unfold", "rearrange", "unflatten"))
_SHIFTS = frozenset(("pad", "roll", "cat", "narrow"))
_POSITIONS = {"kernel_size": 2, "padding": 4, "dilation": 5}  # among Conv1d's arguments


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Classes that the script makes; what moves or folds the axis itself is left open."""
    modules = case.program.modules
    made = {name for module in modules for name in _called_names(module)}
    findings: list[Finding] = []
    open_at: list[Finding] = []
    for module in modules:
        for layer in _convolving_layers(module):
            found = list(_findings(module, layer)) if layer.name in made else []
            (open_at if found and _moves_the_axis(layer) else findings).extend(found)
    if open_at and not findings:
        place = open_at[0]
        return cannot_tell(
            f"{place.file}:{place.line} pads a convolution on both sides, and its layer moves or "
            "folds the axis; whether later tokens are reached cannot be followed"
        )
    if not findings and case.program.blind_spot is not None:
        return cannot_tell(case.program.blind_spot)
    return CheckResult(findings=tuple(findings))


def _convolving_layers(module: Module) -> list[ast.ClassDef]:
    """The classes around a Conv1d; most scripts have none, and their trees are long."""
    calls = module.of_kind(ast.Call)
    lines = sorted(call.lineno for call in calls if _last_name(call.func) == "Conv1d")
    ends = ((layer, bisect(lines, layer.end_lineno or 0)) for layer in module.of_kind(ast.ClassDef))
    return [layer for layer, end in ends if end and lines[end - 1] >= layer.lineno]


def _called_names(module: Module) -> Iterator[str]:
    for call in module.of_kind(ast.Call):
        if isinstance(call.func, ast.Name):
            yield call.func.id


def _findings(module: Module, layer: ast.ClassDef) -> Iterator[Finding]:
    """The symmetric convolutions of one layer that it applies to (B, D, T)."""
    nodes = list(ast.walk(layer))
    assigns = [node for node in nodes if isinstance(node, ast.Assign)]
    turned = {name for node in assigns if _turns(node.value) for name in _names(node)}
    values = {name: node.value for node in assigns for name in _names(node)}
    calls = (node for node in nodes if isinstance(node, ast.Call) and len(node.args) == 1)
    applied = {
        _own_attribute(call.func)
        for call in calls
        if _turns(call.args[0]) or getattr(call.args[0], "id", None) in turned
    }
    for node in assigns:
        made, name = node.value, _own_attribute(node.targets[0])
        if name is None or name not in applied or not isinstance(made, ast.Call):
            continue
        if _last_name(made.func) == "Conv1d" and _is_symmetric(made, values):
            message = "the convolution over time reaches as far ahead of a token as behind it"
            yield finding_at(module, made, message)


def _names(assign: ast.Assign) -> list[str]:
    return [target.id for target in assign.targets if isinstance(target, ast.Name)]


def _own_attribute(node: ast.expr) -> str | None:
    """`x` of `self.x`."""
    if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) == "self":
        return node.attr
    return None


def _last_name(node: ast.expr) -> str | None:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)


def _turns(value: ast.expr) -> bool:
    """Whether axes are exchanged in an expression."""
    return any(isinstance(n, ast.Call) and _last_name(n.func) in _TURNS for n in ast.walk(value))


def _is_symmetric(call: ast.Call, values: Mapping[str, ast.expr]) -> bool:
    """Whether padding is half of what the kernel spans, or less than all of it in plain numbers."""
    kernel, padding, dilation = (_argument(call, name, values) for name in _POSITIONS)
    if _number(kernel, 0) == 1:
        return False
    if isinstance(padding, ast.Constant) and padding.value == "same":
        return True
    if isinstance(padding, ast.BinOp) and isinstance(padding.op, ast.FloorDiv):
        return _number(padding.right, 0) == 2
    span = (_number(kernel, 0) - 1) * _number(dilation, 1)
    return 0 < _number(padding, 0) < span


def _argument(call: ast.Call, name: str, values: Mapping[str, ast.expr]) -> ast.expr | None:
    named = [word.value for word in call.keywords if word.arg == name]
    found = next(iter([*named, *call.args[_POSITIONS[name] :][:1]]), None)
    return values.get(found.id, found) if isinstance(found, ast.Name) else found


def _number(node: ast.expr | None, default: int) -> int:
    """A whole number as it stands; the default for anything else."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    return default


def _moves_the_axis(layer: ast.ClassDef) -> bool:
    called = {_last_name(n.func) for n in ast.walk(layer) if isinstance(n, ast.Call)}
    return bool(called & (_OTHER_AXES | _SHIFTS))
