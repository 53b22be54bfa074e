"""Ctrl-C during a run: once stops it cleanly, twice kills it at once."""

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from types import FrameType

import click

INTERRUPTED = 130


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Hear Ctrl-C while a run goes on.

    Raises:
        KeyboardInterrupt: after the run's processes were killed; says how to go on.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, kill)
        click.echo("\nstopping; Ctrl-C again kills the run at once", err=True)
        raise KeyboardInterrupt

    def kill(number: int, frame: FrameType | None) -> None:
        import psutil

        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
        os._exit(INTERRUPTED)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    except KeyboardInterrupt:
        words = [word for word in sys.argv[1:] if word != "--resume"]
        command = shlex.join(["pgolf-verify", *words, "--resume"])
        raise KeyboardInterrupt(f"finished seeds are kept; go on with: {command}") from None
    finally:
        signal.signal(signal.SIGINT, before)
