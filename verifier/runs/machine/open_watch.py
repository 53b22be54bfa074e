"""Which files below some folders are opened, and when: the kernel's own word, at no cost to a run.

inotify reports by file, not by process, and so through any sandbox's mounts: of folders that only
the run can see, what it reports is what the run opened; of shared ones, what anybody opened.

Covered: every opening of every file in the folders as they are at the start.
Not covered: folders made later, files inherited open, /proc, /sys and devices.
"""

import ctypes
import os
import select
import struct
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Self

_LIBC = ctypes.CDLL(None, use_errno=True)
_IN_OPEN, _IN_ONLYDIR = 0x20, 0x0100_0000
_IN_IS_DIR, _IN_OVERFLOW = 0x4000_0000, 0x4000
_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name


class OpenWatch:
    """Watches while it is entered; afterwards `opened` and `is_complete` tell."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self.opened: dict[Path, float] = {}
        """File → `time.monotonic()` of its first opening."""
        self.is_complete = True
        """False where the kernel lost events or would not watch a folder."""
        self._folders = tuple(folders)
        self._by_watch: dict[int, Path] = {}

    def __enter__(self) -> Self:
        self._events = _LIBC.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        self._wake_read, self._wake_write = os.pipe()
        self.is_complete = self._events >= 0
        for folder in self._folders:
            self._add(folder)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._wake_write)
        self._thread.join()
        os.close(self._wake_read)
        if self._events >= 0:
            self._read()
            os.close(self._events)

    def _add(self, folder: Path) -> None:
        watch = _LIBC.inotify_add_watch(self._events, os.fsencode(folder), _IN_OPEN | _IN_ONLYDIR)
        if watch < 0:  # out of watches, mostly: /proc/sys/fs/inotify/max_user_watches
            self.is_complete = False
        else:
            self._by_watch[watch] = folder

    def _listen(self) -> None:
        waited_for = [self._wake_read] + ([self._events] if self._events >= 0 else [])
        while True:
            ready, _, _ = select.select(waited_for, [], [])
            if self._wake_read in ready:
                return
            self._read()

    def _read(self) -> None:
        now = time.monotonic()
        while True:
            try:
                buffer = os.read(self._events, 1 << 16)
            except BlockingIOError:
                return
            offset = 0
            while offset < len(buffer):
                watch, mask, _, length = _EVENT.unpack_from(buffer, offset)
                offset += _EVENT.size
                name = buffer[offset : offset + length].rstrip(b"\0")
                offset += length
                self._note(watch, mask, name, now)

    def _note(self, watch: int, mask: int, name: bytes, now: float) -> None:
        if mask & _IN_OVERFLOW:
            self.is_complete = False
        elif name and not mask & _IN_IS_DIR and watch in self._by_watch:
            self.opened.setdefault(self._by_watch[watch] / os.fsdecode(name), now)
