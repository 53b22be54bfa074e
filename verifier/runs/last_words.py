"""What a process said last of why it failed."""

import re

MAX_CHARACTERS = 4_000
"""Of a line that is looked at; whoever shows it cuts it shorter."""
MAX_LINES_AFTER = 50
"""An exception that so many lines follow was caught, and is not why the process ended."""
_EXCEPTION = re.compile(
    r"(?:\[rank\d{1,4}\]: ?)?((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt)(?::.*|$))"
)
"""As Python ends a traceback; torchrun's ranks put their number before each line."""
_LAUNCHER = re.compile(r"torch[./]distributed[./]elastic")
"""In the first line of the report that torchrun puts behind a rank's own last words."""
_RANK_FAILED = re.compile(r"failed \(exitcode: -?\d{1,3}\) local_rank: \d")
"""In that report, where a rank ended by itself: torchrun is also heard when it is killed."""


class LastWords:
    """Hears the lines of one process, one after another."""

    def __init__(self) -> None:
        self.rank_failed = False
        """Whether the launcher told that a rank ended by itself, with an error."""
        self._launcher_speaks = False
        self._last = ""
        self._exception = ""
        self._lines_after = 0

    def hear(self, text: str) -> None:
        """Take the next line."""
        said = text[:MAX_CHARACTERS].strip()
        self._launcher_speaks |= _LAUNCHER.search(said) is not None
        if self._launcher_speaks:
            self.rank_failed |= _RANK_FAILED.search(said) is not None
        elif exception := _EXCEPTION.match(said):
            self._last = self._exception = exception[1]
            self._lines_after = 0
        elif said:
            self._last = said
            self._lines_after += 1

    @property
    def text(self) -> str:
        """The last exception that was named, or the last line: libraries warn as they go down."""
        is_why = self._exception and self._lines_after <= MAX_LINES_AFTER
        return self._exception if is_why else self._last
