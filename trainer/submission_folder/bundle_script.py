"""Flattens the training script and all that its recipe uses into one readable `train_gpt.py`.

The result is the modules' own source, comments included, in the order in which they need each
other: internal imports are dropped, external ones merged at the top. Options that choose code
(`chooses_code`) are settled: branches that the recipe never takes are left out, then definitions
that nothing reaches, then options that nothing reads. All others, such as sizes, steps, clocks,
rates, paths and compilation, can still be set by their public names; a name that would need code
which was left out is refused when the script starts. What cannot be flattened faithfully is an
error, not a guess.
"""

import ast
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from trainer.errors import TrainerError
from trainer.recipe import Value, chooses_code, options_by_path, section_types
from trainer.submission_folder.fold_branches import does_nothing, folded_once

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
    head: str  # its docstring and imports
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
    sources = dict(sources_in_order(ENTRY_MODULE, {}))
    refuse_ambiguous_names([read_module(name, source) for name, source in sources.items()])
    options = options_by_path()
    fixed = {
        path: value
        for path, value in settings.items()
        if chooses_code(options[path], value)
        and not path.startswith("device.")  # a machine may lack what it takes to compile
    }
    modules = modules_for(sources, {path.split(".")[1]: fixed[path] for path in fixed})
    wanted = reachable_names(modules) | {"sys", "Path"}
    kept = remaining_options(modules)
    open_settings = {path: value for path, value in settings.items() if path in kept}
    # A place that nothing reads, such as that of checkpoints, may be named all the same.
    left_out = {path for path in settings if path not in kept and not path.startswith("run.")}
    built_in = {path: settings[path] for path in settings if path in left_out | set(fixed)}
    parts = [
        f"# {' '.join(title.split())}\n# Written by `pgolf-train`; RECIPE and BUILT_IN hold every "
        "option, and the script no code\n# for others of BUILT_IN's.",
        "\n".join(merged_imports(modules, wanted)),
        literal("RECIPE", open_settings) + "\n" + literal("BUILT_IN", built_in),
        *(body for module in modules if (body := module_body(module, wanted))),
        'if __name__ == "__main__":\n'
        f"    sys.exit({ENTRY_FUNCTION}(RECIPE, Path(__file__), BUILT_IN))",
    ]
    return "\n\n\n".join(parts) + "\n"


def modules_for(sources: Mapping[str, str], fixed: Mapping[str, Value]) -> list[Module]:
    """The modules with what these options leave of them.

    Args:
        sources: module's name → its source.
        fixed: option's name → its only value.

    Raises:
        TrainerError: something else in the code is called like an option.
    """
    refuse_other_meanings(sources, set(fixed))
    while True:
        modules = [read_module(name, source) for name, source in sources.items()]
        wanted = reachable_names(modules)
        before = {module.name: reached_source(module, wanted) for module in modules}
        sources = folded_once(before, fixed)
        if sources == before:
            refuse_lost_generators(modules)
            return modules


def refuse_lost_generators(modules: list[Module]) -> None:
    """See to it that what is iterated over still yields: an emptied generator would return None.

    Raises:
        TrainerError: one does not.
    """
    for part in (part for module in modules for part in module.statements):
        functions = (n for n in ast.walk(ast.parse(part.source)) if isinstance(n, ast.FunctionDef))
        for node in filter(does_nothing, functions):
            if node.returns is not None and "Iterator" in ast.unparse(node.returns):
                raise TrainerError(
                    f"{node.name} has nothing left to yield in this recipe; "
                    "call it with `yield from`, or not at all"
                )


def reached_source(module: Module, wanted: set[str]) -> str:
    """A module with its imports, but without definitions that nothing reaches."""
    kept = [part.source for part in module.statements if part.defines & wanted]
    return "".join([module.head, *kept])


def remaining_options(modules: list[Module]) -> set[str]:
    """The paths of the options that the script still has fields for."""
    sections = {kind.__name__: section for section, kind in section_types().items()}
    return {
        f"{sections[node.name]}.{member.target.id}"
        for module in modules
        for node in ast.parse("".join(part.source for part in module.statements)).body
        if isinstance(node, ast.ClassDef) and node.name in sections
        for member in node.body
        if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name)
    }


def refuse_other_meanings(sources: Mapping[str, str], names: set[str]) -> None:
    """See to it that an attribute of an option's name is that option wherever it is read.

    Raises:
        TrainerError: it is not.
    """
    sections = {kind.__name__ for kind in section_types().values()}
    for module, source in sources.items():
        classes = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ClassDef)]
        for node in classes:
            members = set() if node.name in sections else attributes_made(node)
            if both := members & names:
                raise TrainerError(
                    f"{module}: {node.name}.{min(both)} is called like an option; rename it"
                )


def attributes_made(node: ast.ClassDef) -> set[str]:
    """The attributes that a class defines or assigns."""
    made = {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store):
            made.add(part.attr)
        elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            made |= {part.target.id} if part in node.body else set()
    return made


def literal(name: str, settings: Mapping[str, Value]) -> str:
    """Settings as an assignment, one a line."""
    lines = [f"    {quoted(path)}: {quoted(value)},\n" for path, value in settings.items()]
    return f"{name} = {{\n{''.join(lines)}}}" if lines else f"{name} = {{}}"


def quoted(value: Value) -> str:
    """A literal, with double quotes as in the rest of the script."""
    return json.dumps(value) if isinstance(value, str) else repr(value)


def module_body(module: Module, wanted: set[str]) -> str:
    """What is kept of a module, under a header that names it; empty if nothing is."""
    kept = "".join(part.source for part in module.statements if part.defines & wanted)
    header = f"# ---- {module.name.replace('.', '/')}.py\n# {module.summary}"
    return f"{header}\n\n\n{kept.strip()}" if kept else ""


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
