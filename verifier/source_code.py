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
        mentioned = _mentioned_paths(file)
        if mentioned is None:
            return None
        pending += [by_path[path] for path in mentioned if path in by_path]
    return tuple(needed.values())


def _mentioned_paths(file: SubmissionFile) -> set[PurePosixPath] | None:
    try:
        tree = ast.parse(file.text or "")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    folder = file.path.parent
    paths: set[PurePosixPath] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                paths |= _module_paths(alias.name, folder)
        elif isinstance(node, ast.ImportFrom):
            paths |= _module_paths(node.module or "", folder)
            for alias in node.names:
                paths |= _module_paths(f"{node.module or ''}.{alias.name}".strip("."), folder)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            paths |= _text_paths(node.value, folder)
    return paths


def _module_paths(name: str, folder: PurePosixPath) -> set[PurePosixPath]:
    parts = [part for part in name.split(".") if part]
    if not parts:
        return set()
    module = folder.joinpath(*parts)
    return {module.with_suffix(".py"), module / "__init__.py"}


def _text_paths(text: str, folder: PurePosixPath) -> set[PurePosixPath]:
    if not 0 < len(text) < 256 or "\n" in text or "\0" in text:
        return set()
    path = PurePosixPath(text)
    return {folder / path} if not path.is_absolute() else set()
