"""Where a module binds names, and to which literals."""

import ast
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from verifier.data_flow.values import UNKNOWN
from verifier.reading.program import Module

Owner = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Bindings:
    """The places of a module where names are bound, by line: a function's are neighbours."""

    lines: list[int]
    bindings: Sequence[tuple[str, object]]  # a name, and the constant if it is bound to a literal

    @classmethod
    def of(cls, module: Module) -> "Bindings":
        literals = {
            id(target): node.value.value
            for node in module.of_kind(ast.Assign)
            if isinstance(node.value, ast.Constant)
            for target in node.targets
        }
        stores = [name for name in module.of_kind(ast.Name) if isinstance(name.ctx, ast.Store)]
        stores.sort(key=lambda name: name.lineno)
        bindings = [(name.id, literals.get(id(name), UNKNOWN)) for name in stores]
        return cls(lines=[name.lineno for name in stores], bindings=bindings)

    def within(self, node: Owner) -> Sequence[tuple[str, object]]:
        """The bindings below a node, in order."""
        if isinstance(node, ast.Module):
            return self.bindings
        start = bisect_left(self.lines, node.lineno)
        return self.bindings[start : bisect_right(self.lines, node.end_lineno or node.lineno)]
