"""How often a loop goes round, and whether it meets something new each time."""

import ast

_COUNTERS = {"range", "count", "trange", "arange"}


def only_counts(node: ast.expr) -> bool:
    """Whether a loop goes over numbers or literals: over a collection it meets something new."""
    if isinstance(node, ast.Tuple | ast.List | ast.Constant):
        return True
    called = (n.func for n in ast.walk(node) if isinstance(n, ast.Call))
    return any(getattr(f, "id", getattr(f, "attr", "")) in _COUNTERS for f in called)


def range_of(node: ast.expr) -> list[ast.expr]:
    """The bounds of `range(…)`; none of anything else."""
    is_range = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "range"
    return node.args if isinstance(node, ast.Call) and is_range else []


def num_rounds(node: ast.expr, bounds: list[object]) -> int | None:
    """How often `for … in range(constant)` goes round."""
    numbers = [bound for bound in bounds if isinstance(bound, int)]
    if len(numbers) != len(bounds) or len(bounds) not in (1, 2):
        return None
    low, high = (0, *numbers) if len(numbers) == 1 else numbers
    return max(high - low, 0)
