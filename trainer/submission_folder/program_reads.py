"""Which names a program reads, and how its functions are called, all of its modules together."""

import ast
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache

from trainer.submission_folder.known_values import is_dataclass

IMPURE = ast.Call | ast.Yield | ast.YieldFrom | ast.Await | ast.NamedExpr


@cache  # most modules stay as they are from one round to the next
def parsed(source: str) -> ast.Module:
    """The syntax tree of a source."""
    return ast.parse(source)


@cache
def nodes_of(tree: ast.AST) -> list[ast.AST]:
    """All nodes of a tree."""
    return list(ast.walk(tree))


class Reads:
    """Which names a program reads, and how its functions are called."""

    def __init__(self, trees: Sequence[ast.Module]) -> None:
        nodes = [node for tree in trees for node in nodes_of(tree)]
        self.attributes = {
            node.attr
            for node in nodes
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
        }
        self.attributes |= {
            node.value
            for node in nodes
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        self.defaults: defaultdict[str, set[str]] = defaultdict(set)  # of keyword-only parameters
        read: set[str] = set()  # of those
        self.fields: defaultdict[str, set[str]] = defaultdict(set)  # dataclass → fields
        for node in nodes:
            if isinstance(node, ast.FunctionDef):
                for arg, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
                    self.defaults[arg.arg].add(ast.unparse(default) if default else "")
                read |= names_read(node) & {arg.arg for arg in node.args.kwonlyargs}
            elif isinstance(node, ast.ClassDef) and is_dataclass(node):
                self.fields[node.name] |= set(field_names(node))
        self.empty = {n.name for n in nodes if isinstance(n, ast.FunctionDef) and does_nothing(n)}
        self.computed = {
            (root_name(node.func), keyword.arg)
            for node in nodes
            if isinstance(node, ast.Call)
            for keyword in node.keywords
            if any(isinstance(part, IMPURE) for part in ast.walk(keyword.value))
        }  # class and field, where the field's value takes a call
        computed_keywords = {keyword for _, keyword in self.computed}
        self.unread = set(self.defaults) - read - computed_keywords
        self.imported = {
            alias.asname or alias.name.partition(".")[0]
            for node in nodes
            if isinstance(node, ast.Import)
            for alias in node.names
        } | {"F", "dist", "nn", "Path"}


def field_names(node: ast.ClassDef) -> Iterator[str]:
    """The names of a dataclass's fields."""
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            yield part.target.id


def does_nothing(node: ast.FunctionDef) -> bool:
    """Whether a function has no statement besides its docstring."""
    return all(
        isinstance(part, ast.Pass)
        or (isinstance(part, ast.Return) and part.value is None)
        or (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
        for part in node.body
    )


@cache
def names_read(node: ast.AST) -> set[str]:
    """The names that are read at a node and below it."""
    return {
        part.id
        for part in ast.walk(node)
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)
    }


def root_name(node: ast.expr) -> str:
    """What a chain of attributes begins with: `torch` for torch.nn.functional.pad."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
