"""The users that root's sandboxes make, and what they can reach."""

import os
import sys
from pathlib import Path

import pytest


def is_closed_to_others(path: Path) -> bool:
    """Whether a folder above a file, or above what it links to, lets only its owner in."""
    folders = (*path.absolute().parents, *path.resolve().parents)
    return not all(folder.stat().st_mode & 0o001 for folder in folders)


def require_interpreter_of_others() -> None:
    """Skip where the users that root's sandboxes make could not start our interpreter."""
    if os.geteuid() == 0 and is_closed_to_others(Path(sys.executable)):
        pytest.skip(f"{sys.executable} lies under a folder that is closed to other users")
