"""Ctrl-C, a scheduler's SIGTERM, a lost terminal: what was begun is ended, and one line says so.

During a run the first one stops it cleanly, and the second kills it at once.
"""

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

import click

INTERRUPTED = 130
Handler = Callable[[int, FrameType | None], object] | int | None


class Interrupted(KeyboardInterrupt):
    """An interrupt that lets us choose the exit code.

    Where a plain one came out of an `exec`, as dataclasses use while they are imported, Python
    ends by SIGINT, whatever code was asked for.
    """


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """What `listen` may be given where there is nothing to be kept."""
    raise Interrupted


def was_interrupted(error: BaseException | None) -> bool:
    """Whether an error is an interrupt, or came of one: an import may tell it as its own."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Keep what a run has done when it is interrupted.

    Raises:
        KeyboardInterrupt: after the run's processes were killed; says how to go on.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        listen(kill)
        with contextlib.suppress(OSError):  # where the terminal is gone
            click.echo("\nstopping; Ctrl-C again kills the run at once", err=True)
        raise Interrupted

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
        raise Interrupted(f"finished seeds are kept; go on with: {command}") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def listen(handler: Callable[[int, FrameType | None], None]) -> dict[signal.Signals, Handler]:
    """Have all that interrupts us handled; gives who handled it before.

    Who started us with nohup wants us to go on.
    """
    told = (signal.SIGTERM, signal.SIGHUP)
    heard = [signal.SIGINT, *(n for n in told if signal.getsignal(n) is not signal.SIG_IGN)]
    return {number: signal.signal(number, handler) for number in heard}
