"""Run inside a sandbox: try what is named on the command line, one JSON line an answer.

Each probe runs in a process of its own, so that one which is killed, hangs or breaks its process
spoils no other.
"""

import json
import os
import signal
import sys
from collections.abc import Callable

from verifier.sandbox.conformance.inside import (
    devices,
    files,
    network,
    privileges,
    processes,
    tampering,
)
from verifier.sandbox.conformance.inside.planted import NotApplicable, Planted, read_planted

PROBE_SECONDS = 5
MODULES = (devices, files, network, privileges, processes, tampering)
Probe = Callable[[Planted], str | None]


def main() -> None:
    """Try every named probe: nothing printed for it means that it did not come back."""
    planted = read_planted()
    probes = {name: getattr(module, name) for module in MODULES for name in vars(module)}
    for name in sys.argv[1:]:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            signal.alarm(PROBE_SECONDS)
            _answer(name, probes[name], planted)
        os.waitpid(child, 0)


def _answer(name: str, probe: Probe, planted: Planted) -> None:
    answer: dict[str, str | None] = {"check": name}
    try:
        answer["breach"] = probe(planted)
    except NotApplicable as reason:
        answer["not_applicable"] = str(reason)
    except Exception as error:
        answer["breach"] = f"the probe failed: {type(error).__name__}: {error}"
    os.write(1, json.dumps(answer).encode() + b"\n")
    os._exit(0)


if __name__ == "__main__":
    main()
