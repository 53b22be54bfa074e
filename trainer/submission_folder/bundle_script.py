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

from trainer.errors import TrainerError
from trainer.recipe import Value, chooses_code, options_by_path, section_types
from trainer.submission_folder.fold_branches import folded_once
from trainer.submission_folder.program_reads import does_nothing
from trainer.submission_folder.source_modules import Module, read_module, sources_in_order

ENTRY_MODULE = "trainer.train_gpt"
ENTRY_FUNCTION = "main"


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
