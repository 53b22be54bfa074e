"""How much work a call is, without a clock: the same on every machine and under any load."""

import sys
from collections.abc import Callable
from types import FrameType


def lines_run(call: Callable[[], object]) -> int:
    """Lines of Python that the call runs, each as often as it comes by.

    What runs in C counts as the line that calls it: a regular expression is told by a text on
    which a bad one would never end.
    """
    count = 0

    def trace(frame: FrameType, event: str, argument: object):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count
