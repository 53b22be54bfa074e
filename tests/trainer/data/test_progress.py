import io

import pytest
from rich.console import Console

from trainer.data.progress import ProgressDisplay


@pytest.fixture
def screen():
    return io.StringIO()


@pytest.fixture
def display(screen, monkeypatch):
    """A display on a pipe, with a clock that a test sets."""
    seconds = [0.0]
    monkeypatch.setattr("trainer.data.progress.time.monotonic", lambda: seconds[0])
    display = ProgressDisplay(Console(file=screen, width=80))
    display.set_clock = lambda value: seconds.__setitem__(0, value)
    return display


def test_short_job_says_nothing(display, screen):
    with display:
        display.set_clock(1.9)
        display("encode", 1, 2)
    assert screen.getvalue() == ""


def test_long_job_off_a_terminal_writes_a_line_now_and_then(display, screen):
    with display:
        for done in range(100):
            display.set_clock(done / 4)
            display("encode", done, 100)
    assert screen.getvalue().splitlines() == [
        "encode: 8 %, 2 s", "encode: 48 %, 12 s", "encode: 88 %, 22 s",
    ]  # fmt: skip


def test_terminal_gets_a_bar_that_disappears(monkeypatch):
    screen = io.StringIO()
    with ProgressDisplay(Console(file=screen, force_terminal=True, width=80)) as display:
        monkeypatch.setattr("trainer.data.progress.QUIET_SECONDS", 0)
        display("encode", 5, 10)
    assert "50 %" in screen.getvalue() and screen.getvalue().endswith("\x1b[2K")
