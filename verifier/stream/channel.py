"""Two named pipes in the submission's working folder: tokens in, answers out.

Named pipes pass every sandbox's walls with the folder, and any language opens them. The harness
opens its ends before the submission starts and never by name again.
"""

import contextlib
import fcntl
import os
import select
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from verifier.stream.protocol import BrokenStreamError

TOKENS_NAME, ANSWERS_NAME = ".pgolf_stream_tokens", ".pgolf_stream_answers"
TOKENS_VARIABLE, ANSWERS_VARIABLE = "PGOLF_STREAM_TOKENS", "PGOLF_STREAM_ANSWERS"
PIPE_BYTES = 2**20
TICK_MS = 50
READ_BYTES = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Channel:
    """The harness's ends."""

    tokens: int
    answers: int
    has_ended: threading.Event = field(default_factory=threading.Event)
    """Set once the submission's process is dead."""

    def send(self, message: bytes, seconds: float) -> None:
        """Write a message whole.

        Raises:
            BrokenStreamError: it is not taken in time, or nobody is there to take it.
        """
        deadline, rest = time.monotonic() + seconds, memoryview(message)
        while rest:
            self._wait(self.tokens, select.POLLOUT, deadline, "take the next tokens")
            with contextlib.suppress(BlockingIOError):
                rest = rest[os.write(self.tokens, rest) :]

    def receive(self, num_bytes: int, seconds: float) -> bytearray:
        """Read exactly so many bytes.

        Raises:
            BrokenStreamError: they do not come in time, or no more can come.
        """
        deadline, content = time.monotonic() + seconds, bytearray()
        while len(content) < num_bytes:
            self._wait(self.answers, select.POLLIN, deadline, "answer")
            wanted = min(num_bytes - len(content), READ_BYTES)
            with contextlib.suppress(BlockingIOError):
                content += os.read(self.answers, wanted)
        return content

    def _wait(self, end: int, event: int, deadline: float, verb: str) -> None:
        """Until the pipe is ready; what a dead process left in it is still read."""
        poll = select.poll()
        poll.register(end, event)
        while True:
            is_over = self.has_ended.is_set()
            if any(happened & event for _, happened in poll.poll(TICK_MS)):
                return
            if is_over:
                raise BrokenStreamError(f"it ended and did not {verb}")
            if time.monotonic() > deadline:
                raise BrokenStreamError(f"it did not {verb} in time")


@contextlib.contextmanager
def open_channel(folder: Path) -> Iterator[Channel]:
    """Make the pipes in a folder; on leaving, reading from them ends and writing fails.

    Raises:
        OSError: the folder takes no pipes.
    """
    with contextlib.ExitStack() as at_the_end:
        ends = []
        # Opened for both directions, a pipe of tokens needs no reader yet.
        for name, mode in ((TOKENS_NAME, os.O_RDWR), (ANSWERS_NAME, os.O_RDONLY)):
            os.mkfifo(folder / name, 0o600)
            end = os.open(folder / name, mode | os.O_NONBLOCK | os.O_CLOEXEC)
            at_the_end.callback(os.close, end)
            with contextlib.suppress(OSError):  # the host may allow less
                fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            ends.append(end)
        yield Channel(tokens=ends[0], answers=ends[1])
