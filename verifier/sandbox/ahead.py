"""The probes before a run, tried by a process of their own while the harness still loads and reads.

`main` is started in a Python of its own with the arguments SANDBOX PLACE; it says on its output
what held, or why that could not be found out, and leaves nothing behind.
"""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from verifier.errors import PgolfError, SandboxUnavailableError
from verifier.sandbox.base import Enforcement

PACKAGE_ROOT = Path(__file__).resolve().parents[2]
START = """\
import sys
sys.path.insert(0, sys.argv.pop(1))
from verifier.sandbox.ahead import main
main()
"""
"""Found by its place, so that it starts in a checkout that nobody installed too."""


class ProbesAhead:
    """Begun when it is entered; left only when they are over, whether asked for or not."""

    def __init__(self, sandbox: str, place: Path) -> None:
        self._sandbox = sandbox
        self._place = place

    def __enter__(self) -> Self:
        words = [str(PACKAGE_ROOT), self._sandbox, str(self._place)]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", START, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the harness to hear
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdout is not None and not self._process.stdout.closed:
            self._process.communicate()

    def enforcements(self) -> tuple[Enforcement, ...]:
        """Wait for what they found.

        Raises:
            SandboxUnavailableError: the sandbox could not start, or could not be probed.
        """
        output, _ = self._process.communicate()
        try:
            said = json.loads(output)
        except ValueError:
            said = {"trouble": f"the probes of sandbox {self._sandbox} gave no answer; try doctor"}
        if "trouble" in said:
            raise SandboxUnavailableError(said["trouble"])
        return tuple(Enforcement(**fields) for fields in said["held"])


def main() -> None:
    """Probe the sandbox named first on the command line in a new folder at the place named next."""
    print(json.dumps(_probe(sys.argv[1], Path(sys.argv[2]))))


def _probe(name: str, place: Path) -> dict[str, Any]:
    # Imported by the process that probes, and not by the one that waits for it.
    from verifier.sandbox.choice import sandbox_named
    from verifier.sandbox.leftovers import owned_name, sweep
    from verifier.sandbox.scratch import remove_tree

    try:
        place.mkdir(parents=True, exist_ok=True)
        sweep(place, "probes", remove_tree)
        scratch = place / owned_name("probes")
        scratch.mkdir()
        try:
            return {"held": [asdict(held) for held in sandbox_named(name).guarantees(scratch)]}
        finally:
            remove_tree(scratch)
    except PgolfError as error:
        return {"trouble": str(error)}
    except OSError as error:
        return {"trouble": f"{place}: {error.strerror}; the sandbox could not be probed there"}
