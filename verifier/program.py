"""All code of a submission that can be read: what the main script runs, and what else lies there.

Starts at the main script and follows imports and strings that name files of the folder.
Nothing is imported or executed.
"""

import ast
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from verifier.submission import Submission, SubmissionFile


@dataclass(frozen=True, kw_only=True, slots=True)
class Module:
    """One piece of Python that could be parsed: a file as shipped, or code packed inside it."""

    name: str  # "train_gpt.py", or "train_gpt.py (unpacked)" where the code is packed in that file
    file: SubmissionFile  # the shipped file that it comes from
    tree: ast.Module = field(repr=False)
    text: str = field(repr=False)
    depth: int = 0  # 0 as shipped, 1 unpacked once, …

    def place(self, node: ast.AST) -> tuple[str, int]:
        """Where a finding about `node` points: a name for the reader, and the line there."""
        return self.name, getattr(node, "lineno", 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class OpaqueCode:
    """Code that is run and cannot be read; `reason` names the step that stopped the reader."""

    file: str
    line: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """The code of a submission, as far as it can be read."""

    modules: tuple[Module, ...]  # what the main script reaches, the main script first
    opaque: tuple[OpaqueCode, ...]
    unreachable: tuple[Module, ...]  # scripts that the main script does not reach


def load_program(submission: Submission) -> Program:
    """Parse the main script and all it reaches; a folder without one has no modules."""
    reader = _Reader(submission)
    if submission.script is not None:
        reader.follow(submission.script)
    return reader.program()


class _Reader:
    """Collects modules in the order in which they are reached."""

    def __init__(self, submission: Submission) -> None:
        self._scripts = {file.path: file for file in submission.scripts}
        self._modules: dict[PurePosixPath, Module | None] = {}
        self._opaque: list[OpaqueCode] = []

    def follow(self, start: SubmissionFile) -> None:
        """Read `start` and what it reaches."""
        pending = [start]
        while pending:
            file = pending.pop(0)
            if file.path in self._modules:
                continue
            module = self._parsed(file)
            self._modules[file.path] = module
            if module is not None:
                reached = _mentioned_paths(module.tree, file.path.parent)
                pending += [self._scripts[path] for path in reached if path in self._scripts]

    def program(self) -> Program:
        """All that was followed, and the other scripts of the folder."""
        others = [file for path, file in self._scripts.items() if path not in self._modules]
        reached = tuple(module for module in self._modules.values() if module is not None)
        return Program(
            modules=reached,
            opaque=tuple(self._opaque),
            unreachable=tuple(m for file in others if (m := _parse(file)[0]) is not None),
        )

    def _parsed(self, file: SubmissionFile) -> Module | None:
        module, reason = _parse(file)
        if module is None:
            self._opaque.append(OpaqueCode(file=str(file.path), line=1, reason=reason))
        return module


def _parse(file: SubmissionFile) -> tuple[Module | None, str]:
    """The module, or None and why there is none."""
    if file.text is None:
        return None, "is not text"
    try:
        tree = ast.parse(file.text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return None, f"does not parse as Python: {error}"
    return Module(name=str(file.path), file=file, tree=tree, text=file.text), ""


def _mentioned_paths(tree: ast.Module, folder: PurePosixPath) -> list[PurePosixPath]:
    """Paths of the folder that imports and strings may mean, in the order of the text."""
    paths: list[PurePosixPath] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = [module, *(f"{module}.{alias.name}".strip(".") for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node.value.endswith(".py") and len(node.value) < 256 and "\0" not in node.value:
                paths.append(folder / node.value)
            continue
        else:
            continue
        for name in filter(None, names):
            module_path = folder.joinpath(*name.split("."))
            paths += [module_path.with_suffix(".py"), module_path / "__init__.py"]
    return paths
