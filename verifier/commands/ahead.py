"""What a run needs and need not wait for: its sandbox is probed while everything else loads."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from verifier.sandbox.ahead import ProbesAhead


@contextmanager
def probed_ahead(options: dict[str, Any], rung: str | None) -> Iterator[ProbesAhead | None]:
    """Begin the probes beside the run directory to be; None where it is not sure that one will be.

    Args:
        options: of the command line.
        rung: which is climbed; None where that is not known yet.
    """
    if rung in (None, "paper") or options.get("plan_only"):
        yield None
        return
    sandbox = "plain" if options["trusted_plain_process"] else options["sandbox"]
    with ProbesAhead(sandbox, (options["out"] or Path("runs/any")).absolute().parent) as probes:
        yield probes
