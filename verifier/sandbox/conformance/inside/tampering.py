"""Data that the command may read: it must be there, and nothing may change it."""

import ctypes
import os
from pathlib import Path

from verifier.sandbox.conformance.inside.planted import DATA, DATA_FILES, Planted
from verifier.sandbox.system_calls import LIBC

MS_REMOUNT_BIND = 0x20 | 0x1000


def data_can_be_read(planted: Planted) -> str | None:
    """The named data is visible and whole."""
    for name in DATA_FILES:
        if Path(planted.data_folder, name).read_text() != DATA:
            return f"{name} is not what was planted"
    return None


def data_cannot_be_opened_for_writing(planted: Planted) -> str | None:
    """Neither appending nor truncating opens a data file."""
    path = Path(planted.data_folder, "appended")
    return _succeeds(path.open, "a") or _succeeds(os.truncate, path, 1)


def data_cannot_be_replaced(planted: Planted) -> str | None:
    """No file of ours can be put in a data file's place."""
    Path("forged").write_text("forged")
    return _succeeds(os.replace, "forged", Path(planted.data_folder, "replaced"))


def data_cannot_be_renamed(planted: Planted) -> str | None:
    """No data file can be moved, within its folder or out of it."""
    path = Path(planted.data_folder, "renamed")
    return _succeeds(path.rename, path.with_name("moved")) or _succeeds(path.rename, "moved_out")


def data_cannot_be_removed(planted: Planted) -> str | None:
    """No data file can be removed."""
    return _succeeds(Path(planted.data_folder, "removed").unlink)


def data_cannot_be_added(planted: Planted) -> str | None:
    """No file can be added to the data."""
    return _succeeds(Path(planted.data_folder, "added").touch)


def data_modes_cannot_be_changed(planted: Planted) -> str | None:
    """Neither mode nor times of a data file can be changed, and a changed mode opens nothing."""
    path = Path(planted.data_folder, "opened")
    changed = _succeeds(os.utime, path) or _succeeds(path.chmod, 0o666)
    return changed or _succeeds(path.open, "w")


def data_cannot_be_remounted(planted: Planted) -> str | None:
    """The data's mount cannot be made writable."""
    folder = planted.data_folder.encode()
    if LIBC.mount(None, folder, None, ctypes.c_ulong(MS_REMOUNT_BIND), None) == 0:
        return "the data was mounted again, writable"
    return None


def data_cannot_be_linked_and_written(planted: Planted) -> str | None:
    """A second name for a data file does not open it for writing."""
    try:
        os.link(Path(planted.data_folder, "linked"), "linked")
    except OSError:
        return None
    return _succeeds(Path("linked").open, "a")


def _succeeds(action: object, *arguments: object) -> str | None:
    assert callable(action)
    try:
        action(*arguments)
    except OSError:
        return None
    name = getattr(action, "__name__", "an action")
    return f"{name}{tuple(str(a) for a in arguments)} worked on the data"
