"""The package's modules taken apart without importing them: definitions, imports, names used."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from trainer.errors import TrainerError

PACKAGE = "trainer"


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """One top-level statement of a module."""

    source: str  # with the comments above it
    defines: frozenset[str]
    uses: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Module:
    """One module, taken apart."""

    name: str
    summary: str  # first line of its docstring
    head: str  # its docstring and imports
    statements: list[Statement]
    needs: list[str]  # internal modules, in the order of their imports
    imports: dict[str, str]  # name in the code → external import statement that brings it


def sources_in_order(name: str, seen: dict[str, None]) -> Iterator[tuple[str, str]]:
    """A module's name and source after those of all modules that it needs, each once."""
    if name in seen:
        return
    seen[name] = None
    path = Path(str(resources.files(PACKAGE))).parent / (name.replace(".", "/") + ".py")
    source = path.read_text(encoding="utf-8")
    for needed in read_module(name, source).needs:
        yield from sources_in_order(needed, seen)
    yield name, source


@cache  # most modules stay as they are from one round of edits to the next
def read_module(name: str, source: str) -> Module:
    """Take a module of the package apart without importing it.

    Raises:
        TrainerError: it imports or does something at its top level that cannot be flattened.
    """
    path = Path(name.replace(".", "/") + ".py")
    tree = ast.parse(source)
    needs: list[str] = []
    imports: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            if is_internal(node):
                needs.append(needed_module(node, tree, path))
            elif node in tree.body:
                imports |= imported_names(node)
    return Module(
        name=name,
        summary=(ast.get_docstring(tree) or "").partition("\n")[0],
        head=module_head(tree, source),
        statements=list(read_statements(tree, source, path)),
        needs=needs,
        imports=imports,
    )


def module_head(tree: ast.Module, source: str) -> str:
    """A module's docstring and imports."""
    lines = source.splitlines(keepends=True)
    return "".join(
        line
        for node in tree.body
        if isinstance(node, ast.Expr | ast.Import | ast.ImportFrom)
        for line in lines[node.lineno - 1 : node.end_lineno]
    )


def read_statements(tree: ast.Module, source: str, path: Path) -> Iterator[Statement]:
    """The definitions of a module, each with the comments and blank lines above it.

    Raises:
        TrainerError: a top-level statement does something other than define.
    """
    lines = source.splitlines(keepends=True)
    end = 0
    for node in tree.body:
        start, end = end, node.end_lineno or node.lineno
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_docstring or isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign):
            raise TrainerError(
                f"{path}:{node.lineno}: only definitions can be bundled; move this into a function"
            )
        yield Statement(
            source="".join(lines[start:end]),
            defines=frozenset(defined_names(node)),
            uses=frozenset(global_names(node)),
        )


def global_names(node: ast.AST) -> set[str]:
    """The names that a definition reads, less those that its functions bind themselves."""
    if not isinstance(node, ast.FunctionDef):
        own = {node.id} if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) else set()
        return own.union(*map(global_names, ast.iter_child_nodes(node)))
    around = [*node.decorator_list, node.args, *([node.returns] if node.returns else [])]
    within = set().union(*map(global_names, node.body)) - bound_names(node)
    return within.union(*map(global_names, around))


def bound_names(node: ast.FunctionDef) -> set[str]:
    """The names that a function binds: parameters and what it assigns."""
    bound = {part.arg for part in ast.walk(node.args) if isinstance(part, ast.arg)}
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            bound.add(part.id)
    return bound


def defined_names(node: ast.stmt) -> list[str]:
    """The names that a top-level definition binds."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node]
    return [
        part.id
        for target in targets
        for part in ast.walk(target)
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
    ]


def is_internal(node: ast.Import | ast.ImportFrom) -> bool:
    """Whether an import brings something of this package."""
    if isinstance(node, ast.ImportFrom):
        return node.level > 0 or str(node.module).partition(".")[0] == PACKAGE
    return any(alias.name.partition(".")[0] == PACKAGE for alias in node.names)


def needed_module(node: ast.Import | ast.ImportFrom, tree: ast.Module, path: Path) -> str:
    """The module that an internal import names.

    Raises:
        TrainerError: without that import the code would mean something else in one file.
    """
    if (
        isinstance(node, ast.ImportFrom)
        and node.level == 0
        and node in tree.body
        and all(alias.asname is None for alias in node.names)
    ):
        return str(node.module)
    raise TrainerError(
        f"{path}:{node.lineno}: only a top-level `from {PACKAGE}.x import Name` can be bundled; "
        "write the import so"
    )


def imported_names(node: ast.Import | ast.ImportFrom) -> dict[str, str]:
    """Name in the code → what it stands for: "import x", "import x as y", "from x import y"."""
    prefix = f"from {node.module} " if isinstance(node, ast.ImportFrom) else ""
    return {
        (alias.asname or alias.name.partition(".")[0]): f"{prefix}import {alias.name}"
        + (f" as {alias.asname}" if alias.asname else "")
        for alias in node.names
    }
