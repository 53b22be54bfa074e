"""Ctrl-C, or a scheduler's SIGTERM, during a run: once stops it cleanly, twice kills it at once."""

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType

import click

INTERRUPTED = 130
Handler = Callable[[int, FrameType | None], object] | int | None


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Hear Ctrl-C and SIGTERM while a run goes on.

    Raises:
        KeyboardInterrupt: after the run's processes were killed; says how to go on.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        listen(kill)
        click.echo("\nstopping; Ctrl-C again kills the run at once", err=True)
        raise KeyboardInterrupt

    def kill(number: int, frame: FrameType | None) -> None:
        import psutil

        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
        os._exit(INTERRUPTED)

    before = listen(stop)
    try:
        yield
    except KeyboardInterrupt:
        words = [word for word in sys.argv[1:] if word != "--resume"]
        command = shlex.join(["pgolf-verify", *words, "--resume"])
        raise KeyboardInterrupt(f"finished seeds are kept; go on with: {command}") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def listen(handler: Callable[[int, FrameType | None], None]) -> dict[signal.Signals, Handler]:
    """Have both signals handled; gives who handled them before."""
    return {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
