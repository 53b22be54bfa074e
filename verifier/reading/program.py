"""All code of a submission that can be read: what the main script runs, and what else lies there.

Starts at the main script and follows imports and strings that name files of the folder: that covers
`exec(open("other.py").read())` and sources compiled at run time. Nothing is imported or executed.
"""

import ast
from collections import defaultdict
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import PurePosixPath
from typing import Literal, NamedTuple, TypeVar, cast

from verifier.intake.bounded_files import read_bounded
from verifier.intake.submission import FileKind, ReadProblem, Submission, SubmissionFile
from verifier.reading.literal_files import Files
from verifier.reading.python_source import all_nodes, parse_python
from verifier.reading.unpacking import RUNNER_NAMES, PackedCode, Unreadable, unpack

MAX_DEPTH = 6  # times that code may be packed in code
MAX_BLOB_BYTES = 8 << 20
Node = TypeVar("Node", bound=ast.AST)
_Kind = Literal["packed", "loaded", "outside", "broken", "needs_library"]
_KINDS: dict[str, _Kind] = {"code": "packed", "library": "needs_library", "outside": "outside"}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)  # hashed by identity, not by its tree
class Module:
    """One piece of Python that could be parsed: a file as shipped, or code packed inside it."""

    name: str  # "train_gpt.py", or "train_gpt.py (unpacked)" where the code is packed in that file
    file: SubmissionFile  # the shipped file that it comes from
    tree: ast.Module = field(repr=False)
    text: str = field(repr=False)
    depth: int = 0  # 0 as shipped, 1 unpacked once, …
    run_at: tuple[str, int] | None = None  # the module and line that run it, where it was packed
    nodes: tuple[ast.AST, ...] = field(default=(), repr=False)  # all of `tree`, walked once
    nodes_by_kind: Mapping[type[ast.AST], list[ast.AST]] = field(default_factory=dict, repr=False)
    lines: list[str] = field(default_factory=list, repr=False)  # of `text`

    def of_kind(self, kind: type[Node]) -> list[Node]:
        """The nodes of one kind, in the order of the tree."""
        return cast(list[Node], self.nodes_by_kind.get(kind, []))

    def place(self, node: ast.AST) -> tuple[str, int]:
        """Where a finding about `node` points: a name for the reader, and the line there."""
        return self.name, getattr(node, "lineno", 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class OpaqueCode:
    """Code that is run and cannot be read; `reason` names the step that stopped the reader."""

    kind: _Kind
    """Packed in the script, loaded from a file, from one outside of the folder, no Python, or
    packed by a library not here."""

    file: str
    line: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """The code of a submission, as far as it can be read."""

    modules: tuple[Module, ...]  # what the main script reaches, the main script first
    opaque: tuple[OpaqueCode, ...]
    unreachable: tuple[SubmissionFile, ...]  # scripts that the main script does not reach
    named: tuple[SubmissionFile, ...] = ()  # what else the code names: sources, tables, blobs

    @property
    def blind_spot(self) -> str | None:
        """Why what is not found in the modules may still be there; None if all code was read."""
        if not self.modules and not self.opaque:
            return "there is no script"
        unread = [code for code in self.opaque if code.kind != "loaded"]
        return f"{unread[0].file}:{unread[0].line} {unread[0].reason}" if unread else None


def read_module(file: SubmissionFile) -> Module | None:
    """One script of the folder by itself, as shipped; None if it does not parse."""
    try:
        return _parsed(file, str(file.path), file.text or "")
    except SyntaxError:
        return None


def load_program(submission: Submission) -> Program:
    """Parse and unpack the main script and all it reaches; a folder without one has no modules."""
    reader = _Reader(submission)
    if submission.script is not None:
        reader.follow(submission.script)
    return reader.program()


def unparsed(program: Program) -> tuple[ReadProblem, ...]:
    """The code of the run that is no Python, for the list of what could not be read."""
    broken = (code for code in program.opaque if code.kind == "broken")
    return tuple(ReadProblem(path=PurePosixPath(c.file), message=c.reason) for c in broken)


class _Pending(NamedTuple):
    """Code that was reached and not read yet."""

    file: SubmissionFile
    text: str
    depth: int = 0
    run_at: tuple[str, int] | None = None


class _Reader:
    """Collects modules in the order in which they are reached."""

    def __init__(self, submission: Submission) -> None:
        self._submission = submission
        self._scripts = {file.path: file for file in submission.scripts}
        no_code = (*submission.of_kind(FileKind.OTHER), *submission.of_kind(FileKind.TOKENIZER))
        self._others = {file.path: file for file in no_code}
        self._others_by_name = {path.name: path for path in reversed(list(self._others))}
        self._file_names = {path.name for path in (*self._scripts, *self._others)}
        self._by_text = {file.text: file for file in reversed(submission.scripts)}
        self._named: dict[PurePosixPath, SubmissionFile] = {}
        self._names: set[str] = set()
        self._modules: list[Module] = []
        self._opaque: list[OpaqueCode] = []
        self._pending: list[_Pending] = []

    def follow(self, start: SubmissionFile) -> None:
        """Read `start` and what it reaches."""
        self._add_file(start)
        while self._pending:
            found = self._pending.pop(0)
            name = self._free_name(found.file, found.depth)
            try:
                module = replace(
                    _parsed(found.file, name, found.text), depth=found.depth, run_at=found.run_at
                )
                self._modules.append(module)
                self._add_reached(module)
            except SyntaxError as error:
                reason = f"does not parse as Python: {error}"
                self._opaque.append(OpaqueCode(kind="broken", file=name, line=1, reason=reason))
            except RecursionError:
                reason = "is nested too deeply to be followed"
                self._opaque.append(OpaqueCode(kind="broken", file=name, line=1, reason=reason))

    def program(self) -> Program:
        """All that was followed, and the other scripts of the folder."""
        others = [f for path, f in self._scripts.items() if str(path) not in self._names]
        return Program(
            modules=tuple(self._modules),
            opaque=tuple(self._opaque),
            unreachable=tuple(others),
            named=tuple(self._named.values()),
        )

    def _free_name(self, file: SubmissionFile, depth: int) -> str:
        """The file's path; what is packed in it says so, and gets a number from the second on."""
        if depth == 0:
            return str(file.path)
        names = (f"{file.path} (unpacked{f' {n}' if n > 1 else ''})" for n in count(1))
        name = next(name for name in names if name not in self._names)
        self._names.add(name)
        return name

    def _add_file(self, file: SubmissionFile) -> None:
        if str(file.path) not in self._names:
            self._names.add(str(file.path))
            self._pending.append(_Pending(file=file, text=file.text or ""))

    def _add_reached(self, module: Module) -> None:
        self._add_mentioned(module, _mentioned_paths(module, self._file_names))
        if RUNNER_NAMES.isdisjoint(_names(module)):
            return
        unpacked = unpack(module.tree, module.file.path, Files(read=self._content))
        for bad in unpacked.unreadable:
            self._add_opaque(module, bad)
        for packed in (*unpacked.packed, *unpacked.written):
            self._add_packed(module, packed)

    def _add_mentioned(self, module: Module, mentioned: list[PurePosixPath]) -> None:
        """The files of the folder that the paths in a module's text may mean."""
        # A relative import starts at the module's folder or above it, all else at the script's.
        main_folder = self._modules[0].file.path.parent
        for folder in dict.fromkeys((main_folder, *module.file.path.parents)):
            for path in [folder / path for path in mentioned]:
                if path in self._scripts:
                    self._add_file(self._scripts[path])
                elif path in self._others:
                    self._named[path] = self._others[path]
        for path in mentioned:  # `folder / "sub" / "kernel.cpp"` names its parts one by one
            if path.suffix and str(path) in self._others_by_name:
                found = self._others_by_name[str(path)]
                self._named[found] = self._others[found]

    def _add_opaque(self, module: Module, bad: Unreadable) -> None:
        reason = f"runs code that cannot be read; the reader stops at {bad.reason}"
        if bad.kind == "outside":
            reason = f"runs code that nobody handed in: {bad.reason}"
        self._opaque.append(
            OpaqueCode(
                kind=_KINDS.get(bad.kind, "loaded"),
                file=module.name,
                line=bad.line,
                reason=reason,
            )
        )

    def _add_packed(self, module: Module, packed: PackedCode) -> None:
        """A file of the folder is read as that file, anything else as a part of its module."""
        if not packed.text.strip():
            return
        file = self._by_text.get(packed.text)
        pending = {found.text for found in self._pending}
        if file is not None:
            self._add_file(file)
        elif module.depth >= MAX_DEPTH:
            reason = f"code packed more than {MAX_DEPTH} times"
            self._add_opaque(module, Unreadable(kind="code", line=packed.line, reason=reason))
        elif packed.text not in pending:
            place, depth = (module.name, packed.line), module.depth + 1
            inside = _Pending(file=module.file, text=packed.text, depth=depth, run_at=place)
            self._pending.append(inside)

    def _content(self, path: PurePosixPath) -> bytes | None:
        """The bytes of a file of the folder, None if it is not there or too large."""
        if not any(file.path == path for file in self._submission.files):
            return None
        try:
            content = read_bounded(
                self._submission.root / path, MAX_BLOB_BYTES // 2, MAX_BLOB_BYTES
            )
        except (OSError, OverflowError):
            return None
        return content.head


def _parsed(file: SubmissionFile, name: str, text: str) -> Module:
    tree = parse_python(text)
    nodes = all_nodes(tree)
    by_kind: defaultdict[type[ast.AST], list[ast.AST]] = defaultdict(list)
    for node in nodes:
        by_kind[type(node)].append(node)
    return Module(
        name=name,
        file=file,
        tree=tree,
        text=text,
        nodes=nodes,
        nodes_by_kind=dict(by_kind),
        lines=text.split("\n"),
    )


def _names(module: Module) -> set[str]:
    """Every name by which the module may reach a function that runs code."""
    names = {node.attr for node in module.of_kind(ast.Attribute)}
    names -= {"exec", "eval"}  # `model.eval()`; `loader.exec_module` follows from its spec
    names |= {node.id for node in module.of_kind(ast.Name)}
    names |= {alias.name.rpartition(".")[2] for alias in module.of_kind(ast.alias)}
    texts = {node.value for node in module.of_kind(ast.Constant) if isinstance(node.value, str)}
    return names | (texts & {"builtins", "__builtins__"})


def _mentioned_paths(module: Module, file_names: Set[str]) -> list[PurePosixPath]:
    """Relative paths that the module's imports and strings may mean, each once, in order.

    Only those with a part among `file_names`: most strings of a script are no paths.
    """
    texts: list[str] = []
    for plain in module.of_kind(ast.Import):
        for alias in plain.names:
            texts += _import_paths(alias.name)
    for found in module.of_kind(ast.ImportFrom):
        for alias in found.names:
            texts += _import_paths(f"{found.module or ''}.{alias.name}")
    constants = module.of_kind(ast.Constant)
    texts += [node.value for node in constants if isinstance(node.value, str)]
    named = (text for text in texts if _is_relative_path(text))
    paths = (text for text in named if not file_names.isdisjoint(text.split("/")))
    return list(dict.fromkeys(map(PurePosixPath, paths)))


def _import_paths(name: str) -> list[str]:
    """The files that importing a dotted name may run: each package on the way, and the module."""
    parts = [part for part in name.split(".") if part]
    modules = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return [path for module in modules for path in (f"{module}.py", f"{module}/__init__.py")]


def _is_relative_path(text: str) -> bool:
    return 0 < len(text) < 256 and "\n" not in text and "\0" not in text and text[0] != "/"
