"""Folders that a stranger fills: weighed while he writes, removed when he is gone.

Covered: any depth, any number of entries, links (never followed), folders closed to ourselves.
Not covered: bytes of files that were deleted while open; only the host's disk sees them.
"""

import os
import uuid
from pathlib import Path

MAX_SCRATCH_ENTRIES = 100_000
TOO_MUCH = 2**62


def scratch_bytes(folder: Path, max_entries: int = MAX_SCRATCH_ENTRIES) -> int:
    """Bytes on disk below `folder`; TOO_MUCH where they are hidden or too many to count."""
    total, seen, pending = 0, 0, [folder]
    while pending:
        try:
            with os.scandir(pending.pop()) as listing:
                entries = list(listing)
        except FileNotFoundError:  # removed since it was listed
            continue
        except OSError:  # closed to us, or too deep for a path: nobody needs that but to hide
            return TOO_MUCH
        seen += len(entries)
        if seen > max_entries:
            return TOO_MUCH
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
                else:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
            except OSError:
                continue
    return total


def remove_tree(root: Path) -> None:
    """Remove a folder whose processes are dead, whatever they left in it; no error if it is absent.

    Every folder below the first level is moved up into `root` before it is entered, so that a
    nesting deeper than a path or Python's stack can reach is removed like any other.

    Raises:
        OSError: the disk refuses.
    """
    if not root.exists():
        return
    folders = [root]
    root.chmod(0o700)
    for folder in folders:  # grows as it is walked
        with os.scandir(folder) as listing:
            entries = list(listing)
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                Path(entry.path).unlink()
                continue
            inner = Path(entry.path)
            inner.chmod(0o700)
            folders.append(inner if folder is root else inner.rename(root / uuid.uuid4().hex))
    for folder in reversed(folders):
        folder.rmdir()
