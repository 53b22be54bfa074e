"""Parsed view of submitted Python: which files of the folder a script needs. Never imports it."""

import ast
from pathlib import PurePosixPath

from verifier.submission import FileKind, Submission, SubmissionFile

CODE_KINDS = (FileKind.SCRIPT, FileKind.OTHER)
"""What can carry code: Python, and sources or blobs in other languages."""


def needed_files(submission: Submission) -> tuple[SubmissionFile, ...] | None:
    """The main script and every file of the folder that it imports or names, transitively.

    A file counts when it is imported, or when a string in the code is its path: that covers
    `exec(open("other.py").read())` and sources compiled at run time. None without a main script,
    or when it does not parse.
    """
    if submission.script is None:
        return None
    by_path = {file.path: file for file in submission.files if file.kind in CODE_KINDS}
    needed: dict[PurePosixPath, SubmissionFile] = {}
    pending = [submission.script]
    while pending:
        file = pending.pop()
        if file.path in needed:
            continue
        needed[file.path] = file
        if file.path.suffix != ".py":
            continue
        mentioned = _mentioned_paths(file, {*file.path.parents, submission.script.path.parent})
        if mentioned is None:
            return None
        pending += [by_path[path] for path in mentioned if path in by_path]
    return tuple(needed.values())


def _mentioned_paths(
    file: SubmissionFile, folders: set[PurePosixPath]
) -> set[PurePosixPath] | None:
    """Every path that the code may mean, seen from any of `folders`.

    A relative import starts at the file's folder or above it, all else at the main script's.
    """
    try:
        tree = ast.parse(file.text or "")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    mentioned: set[PurePosixPath] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                mentioned |= _module_paths(alias.name)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                mentioned |= _module_paths(f"{node.module or ''}.{alias.name}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            mentioned |= _text_paths(node.value)
    return {folder / path for folder in folders for path in mentioned}


def _module_paths(name: str) -> set[PurePosixPath]:
    """The files that importing a dotted name may run: each package on the way, and the module."""
    paths: set[PurePosixPath] = set()
    module = PurePosixPath()
    for part in filter(None, name.split(".")):
        module /= part
        paths |= {module.with_suffix(".py"), module / "__init__.py"}
    return paths


def _text_paths(text: str) -> set[PurePosixPath]:
    path = PurePosixPath(text)
    if not 0 < len(text) < 256 or "\n" in text or "\0" in text or path.is_absolute():
        return set()
    return {path}
