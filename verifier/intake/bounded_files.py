"""Reading a folder that a stranger filled: every walk and every read has a limit.

Nothing is followed out of the folder and nothing but a regular file is ever opened.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderEntry:
    """One thing that lies in a folder; `refusal` says why it must not be opened."""

    parts: tuple[str, ...]  # below the root, as the system spells them (surrogates for odd bytes)
    location: Path
    refusal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundedContent:
    """A file's size and hash, whole, and as much of its bytes as the window holds."""

    num_bytes: int
    sha256: str
    head: bytes
    tail: bytes  # empty when head is the whole file, else it starts at the start of a line
    lines_cut: int  # lines that start after the head's last line and before the tail

    @property
    def is_cut(self) -> bool:
        return len(self.head) < self.num_bytes


def walk_folder(root: Path, max_depth: int, max_entries: int) -> Iterator[FolderEntry]:
    """Everything below `root` in a fixed order; folders themselves are not listed.

    `max_depth` counts path components, `max_entries` files and folders. What lies deeper, a
    link, a device, a pipe, a socket, an unreadable folder and git's own come with a refusal.

    Raises:
        PermissionError: a folder is closed to us, which is no fault of what lies in it.
        OverflowError: there are more than `max_entries` files and folders.
    """
    folders: list[tuple[Path, tuple[str, ...]]] = [(root, ())]
    entries_left = max_entries
    while folders:
        folder, parts = folders.pop()
        try:
            with os.scandir(folder) as listing:
                entries = list(islice(listing, entries_left + 1))
        except PermissionError:
            raise
        except OSError as error:
            yield FolderEntry(parts=parts, location=folder, refusal=f"not listed: {error.strerror}")
            continue
        entries_left -= len(entries)
        if entries_left < 0:
            raise OverflowError(f"holds more than {max_entries} files and folders")
        for entry in sorted(entries, key=lambda entry: os.fsencode(entry.name)):
            below, location = (*parts, entry.name), Path(entry.path)
            refusal = _refusal(entry, len(below), max_depth)
            if refusal is None and entry.is_dir(follow_symlinks=False):
                folders.append((location, below))
            else:
                yield FolderEntry(parts=below, location=location, refusal=refusal)


def _refusal(entry: os.DirEntry[str], depth: int, max_depth: int) -> str | None:
    if entry.is_symlink():
        return "is a symbolic link; not followed"
    if entry.is_dir(follow_symlinks=False):
        if entry.name == ".git":
            return "is git's own folder; not read"
        return f"lies deeper than {max_depth} levels; not read" if depth >= max_depth else None
    if not entry.is_file(follow_symlinks=False):
        return "is no regular file (a pipe, socket or device); not opened"
    return None


def read_bounded(location: Path, window_bytes: int, max_bytes: int) -> BoundedContent:
    """Hash a whole file, keeping its first and last `window_bytes` only (all, if it fits in both).

    Raises:
        OSError: it cannot be opened, is a link, or is no regular file.
        OverflowError: it holds more than `max_bytes`.
    """
    # Non-blocking: a pipe that took the file's place since it was listed must not hang us.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(location, flags), "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "no regular file")
        if status.st_size > max_bytes:  # known before it is read; a file that grows is seen below
            raise OverflowError(f"holds more than {max_bytes} bytes")
        head = stream.read(min(2 * window_bytes, max_bytes + 1))
        digest, num_bytes, num_lines, tail = hashlib.sha256(head), len(head), 0, b""
        while num_bytes <= max_bytes and (chunk := stream.read(_CHUNK_BYTES)):
            digest.update(chunk)
            num_bytes += len(chunk)
            num_lines += chunk.count(b"\n")
            tail = (tail + chunk)[-window_bytes:]
    if num_bytes > max_bytes:
        raise OverflowError(f"holds more than {max_bytes} bytes")
    tail = tail[tail.find(b"\n") + 1 :]
    return BoundedContent(
        num_bytes=num_bytes,
        sha256=digest.hexdigest(),
        head=head,
        tail=tail,
        lines_cut=num_lines - tail.count(b"\n"),
    )
