"""Flattens the training script and all that it needs into one readable `train_gpt.py`.

The result is the modules' own source, comments included, in the order in which they need each
other: internal imports are dropped, external ones merged at the top, and definitions that nothing
reaches are left out. Whatever cannot be flattened faithfully is an error, not a guess.
"""

import ast
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from trainer.errors import TrainerError
from trainer.recipe import Value

PACKAGE = "trainer"
ENTRY_MODULE = "trainer.train_gpt"
ENTRY_FUNCTION = "main"


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
    statements: list[Statement]
    needs: list[str]  # internal modules, in the order of their imports
    imports: dict[str, str]  # name in the code → external import statement that brings it


def bundle_script(settings: Mapping[str, Value], title: str) -> str:
    """The source of a self-contained training script; the same bytes for the same input.

    Args:
        settings: the resolved recipe, option path → value; becomes a literal at the top.
        title: the script's first line.

    Raises:
        TrainerError: a module cannot be flattened; the message names it.
    """
    modules = list(modules_in_order(ENTRY_MODULE, {}))
    refuse_ambiguous_names(modules)
    wanted = reachable_names(modules) | {"sys", "Path"}
    literal = "".join(f"    {quoted(path)}: {quoted(value)},\n" for path, value in settings.items())
    parts = [
        f"# {' '.join(title.split())}\n# Written by `pgolf-train`; RECIPE holds every option.",
        "\n".join(merged_imports(modules, wanted)),
        f"RECIPE = {{\n{literal}}}",
        *(body for module in modules if (body := module_body(module, wanted))),
        f'if __name__ == "__main__":\n    sys.exit({ENTRY_FUNCTION}(RECIPE, Path(__file__)))',
    ]
    return "\n\n\n".join(parts) + "\n"


def quoted(value: Value) -> str:
    """A literal, with double quotes as in the rest of the script."""
    return json.dumps(value) if isinstance(value, str) else repr(value)


def module_body(module: Module, wanted: set[str]) -> str:
    """What is kept of a module, under a header that names it; empty if nothing is."""
    kept = "".join(part.source for part in module.statements if part.defines & wanted)
    header = f"# ---- {module.name.replace('.', '/')}.py\n# {module.summary}"
    return f"{header}\n\n\n{kept.strip()}" if kept else ""


def modules_in_order(name: str, seen: dict[str, None]) -> Iterator[Module]:
    """A module after all modules that it needs, each once."""
    if name in seen:
        return
    seen[name] = None
    module = read_module(name)
    for needed in module.needs:
        yield from modules_in_order(needed, seen)
    yield module


def read_module(name: str) -> Module:
    """Take a module of the package apart without importing it.

    Raises:
        TrainerError: it imports or does something at its top level that cannot be flattened.
    """
    path = Path(str(resources.files(PACKAGE))).parent / (name.replace(".", "/") + ".py")
    source = path.read_text(encoding="utf-8")
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
        statements=list(read_statements(tree, source, path)),
        needs=needs,
        imports=imports,
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
        names = [part for part in ast.walk(node) if isinstance(part, ast.Name)]
        yield Statement(
            source="".join(lines[start:end]),
            defines=frozenset(defined_names(node)),
            uses=frozenset(name.id for name in names if isinstance(name.ctx, ast.Load)),
        )


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


def refuse_ambiguous_names(modules: list[Module]) -> None:
    """See to it that every name stands for one thing in all modules.

    Raises:
        TrainerError: it does not.
    """
    meanings: dict[str, str] = {}
    for module in modules:
        defined = {name: module.name for part in module.statements for name in part.defines}
        for name, meaning in (module.imports | defined).items():
            if meanings.setdefault(name, meaning) != meaning:
                raise TrainerError(
                    f"{name} is both `{meanings[name]}` and `{meaning}` ({module.name}); "
                    "rename one, or import it one way"
                )


def reachable_names(modules: list[Module]) -> set[str]:
    """The entry function and, in turn, all names that it needs."""
    uses: dict[str, frozenset[str]] = {}
    for part in (part for module in modules for part in module.statements):
        for name in part.defines:
            uses[name] = uses.get(name, frozenset()) | part.uses
    wanted: set[str] = set()
    waiting = {ENTRY_FUNCTION}
    while waiting:
        name = waiting.pop()
        wanted.add(name)
        waiting |= uses.get(name, frozenset()) - wanted
    return wanted


def merged_imports(modules: list[Module], wanted: set[str]) -> Iterator[str]:
    """The external imports that are needed, each once: `import x` first, then `from x import y`."""
    kept = {
        statement
        for module in modules
        for name, statement in module.imports.items()
        if name in wanted
    }
    yield from sorted(statement for statement in kept if statement.startswith("import"))
    by_source: defaultdict[str, list[str]] = defaultdict(list)
    for statement in sorted(kept):
        source, is_from, name = statement.partition(" import ")
        if is_from:
            by_source[source].append(name)
    for source, names in by_source.items():
        yield f"{source} import {', '.join(names)}"
