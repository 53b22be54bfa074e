"""A folder of a commit, written to disk byte for byte as it was committed.

The blobs themselves are read, because a checkout or an archive obeys the pull request's own
.gitattributes, which can hide files and rewrite others.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from verifier.errors import HarnessError, UsageError
from verifier.intake.git import run_git

MAX_BYTES = 1 << 30
MAX_FILES = 10_000
EXECUTABLE, LINK, SUBMODULE = b"100755", b"120000", b"160000"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """A file, link or submodule of a tree, in git's words."""

    mode: bytes
    object_name: bytes
    num_bytes: int
    path: str


def write_tree(repository: Path, tree: str, target: Path) -> None:
    """Write into a neighbour, then rename: no half folder is left behind.

    Submodules stay empty folders; executable files are marked so.

    Args:
        repository: which has the tree and its blobs.
        tree: as git names it, such as `refs/head:records/new`.
        target: a folder that does not exist.

    Raises:
        UsageError: the folder is larger than any submission, or would reach out of itself.
        HarnessError: git failed, or the disk did.
    """
    entries = _entries(repository, tree)
    _refuse_huge(entries)
    contents = _contents(repository, entries)
    neighbour = target.with_name(f".{target.name}.partial")
    shutil.rmtree(neighbour, ignore_errors=True)  # of a fetch that was killed
    try:
        neighbour.mkdir(parents=True)
        _write(entries, contents, neighbour)
        neighbour.rename(target)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"not unpacked: {error.filename} is there twice") from error
    except OSError as error:
        raise HarnessError(f"{target}: {error.strerror}; give another --into") from error
    finally:
        shutil.rmtree(neighbour, ignore_errors=True)


def _entries(repository: Path, tree: str) -> list[_Entry]:
    entries = []
    for line in run_git(repository, "ls-tree", "-r", "-l", "-z", tree).split(b"\0")[:-1]:
        described, path = line.split(b"\t", 1)
        mode, _, object_name, size = described.split()
        num_bytes = int(size) if size.isdigit() else 0  # a submodule's is "-"
        entries.append(
            _Entry(mode=mode, object_name=object_name, num_bytes=num_bytes, path=os.fsdecode(path))
        )
    return entries


def _refuse_huge(entries: list[_Entry]) -> None:
    """Before a blob is read, because a push of a few kilobytes can hold gigabytes of zeros.

    Raises:
        UsageError: the folder is larger than any submission.
    """
    num_bytes = sum(entry.num_bytes for entry in entries)
    if num_bytes > MAX_BYTES or len(entries) > MAX_FILES:
        raise UsageError(
            f"the folder holds {num_bytes:,} bytes in {len(entries):,} files; a submission is far "
            "smaller"
        )


def _contents(repository: Path, entries: list[_Entry]) -> Iterator[bytes]:
    """The bytes of each entry in turn, none for a submodule.

    Raises:
        HarnessError: git did not bring what the tree names.
    """
    wanted = [entry.object_name for entry in entries if entry.mode != SUBMODULE]
    printed = run_git(repository, "cat-file", "--batch", given=b"".join(w + b"\n" for w in wanted))
    begin = 0
    for entry in entries:
        if entry.mode == SUBMODULE:
            yield b""
            continue
        header = b"%s blob %d\n" % (entry.object_name, entry.num_bytes)
        if not printed.startswith(header, begin):
            raise HarnessError(f"git brought no {entry.path!r}; try again")
        begin += len(header)
        yield printed[begin : begin + entry.num_bytes]
        begin += entry.num_bytes + 1


def _write(entries: list[_Entry], contents: Iterator[bytes], folder: Path) -> None:
    """Links come last, so that no file is written through one; then all must lead to within.

    Raises:
        UsageError: a path or a link leads out of the folder, or a path is there twice.
    """
    links = []
    for entry, content in zip(entries, contents, strict=True):
        path = folder / entry.path
        if any(part in ("", ".", "..", ".git") for part in entry.path.split("/")):
            raise UsageError(f"not unpacked: {entry.path!r} is no path within a folder")
        if entry.mode == SUBMODULE:
            path.mkdir(parents=True, exist_ok=True)
        elif entry.mode == LINK:
            links.append((path, content))
        else:
            _write_file(path, content, entry)
    for path, leads_to in links:
        if not leads_to or b"\0" in leads_to:
            raise UsageError(f"not unpacked: {path.relative_to(folder)} is a link to nothing")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(os.fsdecode(leads_to))
    home = Path(os.path.realpath(folder))
    for path, leads_to in links:
        if not Path(os.path.realpath(path)).is_relative_to(home):
            raise UsageError(
                f"not unpacked: {path.relative_to(folder)} leads to {os.fsdecode(leads_to)!r}, "
                "out of the folder"
            )


def _write_file(path: Path, content: bytes, entry: _Entry) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(content)
    path.chmod(0o755 if entry.mode == EXECUTABLE else 0o644)
