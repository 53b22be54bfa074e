"""The calls of a module by the outside name that they mean, as its imports tell it."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from verifier.findings import Finding
from verifier.reading.program import Module

_STARTERS = (
    *("subprocess.run", "subprocess.call", "subprocess.check_call", "subprocess.check_output"),
    *("subprocess.Popen", "subprocess.getoutput", "os.system", "os.popen", "os.execv"),
    *("os.execvp", "os.execvpe", "os.spawnv", "os.posix_spawn"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedCall:
    """One call; `name` is the full name as far as imports tell it."""

    name: str
    node: ast.Call
    module: Module

    def finding(self, message: str) -> Finding:
        """The call as the place of a finding, its first line as the evidence."""
        return finding_at(self.module, self.node, message)

    def text_argument(self, position: int, keyword: str) -> str | None:
        """A literal text among the arguments, by its place or its keyword."""
        values = [word.value for word in self.node.keywords if word.arg == keyword]
        values += self.node.args[position : position + 1]
        return next((text for value in values if (text := literal_text(value)) is not None), None)


def finding_at(module: Module, node: ast.AST, message: str) -> Finding:
    """A finding at a place in the code, with the code there as evidence."""
    file, line = module.place(node)
    source = module.lines[line - 1] if line <= len(module.lines) else ""
    return Finding(message=message, file=file, line=line, evidence=source.strip()[:200])


@lru_cache(maxsize=8)  # several rules ask about the same few modules, one rule after another
def named_calls(module: Module) -> tuple[NamedCall, ...]:
    """Every call of a plain or dotted name, in the order of the tree."""
    names = _imported_names(module)
    named = ((dotted_name(node.func, names), node) for node in module.of_kind(ast.Call))
    return tuple(NamedCall(name=name, node=node, module=module) for name, node in named if name)


def dotted_name(node: ast.expr, names: Mapping[str, str]) -> str | None:
    """`a.b.c` with its first part as imported; None for what is no such chain."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([names.get(node.id, node.id), *reversed(parts)])


def literal_text(node: ast.AST) -> str | None:
    """The text of a literal, None for any other node."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return None


def starts_process(call: NamedCall) -> bool:
    """Whether a call starts another program."""
    return call.name in _STARTERS


def command_words(call: NamedCall) -> list[str]:
    """The literal words of a command, the program first and without its folder."""
    if not call.node.args:
        return []
    command = call.node.args[0]
    if isinstance(command, (ast.List, ast.Tuple)):
        parts = [literal_text(element) for element in command.elts]
        # `sys.executable` and the like stand first where it is no literal.
        words = [part or "" for part in parts]
    else:
        words = [w for node in ast.walk(command) for w in (literal_text(node) or "").split()]
    return [words[0].rpartition("/")[2], *words[1:]] if words else []


def _imported_names(module: Module) -> dict[str, str]:
    names: dict[str, str] = {}
    for plain in module.of_kind(ast.Import):
        names |= {alias.asname: alias.name for alias in plain.names if alias.asname}
    for found in module.of_kind(ast.ImportFrom):
        names |= {a.asname or a.name: f"{found.module or ''}.{a.name}" for a in found.names}
    return names
