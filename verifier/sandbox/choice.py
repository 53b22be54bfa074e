"""The sandboxes by name. One is chosen by the user's word, never by what happens to start."""

from verifier.errors import UsageError
from verifier.sandbox.base import Sandbox
from verifier.sandbox.bubblewrap import Bubblewrap
from verifier.sandbox.landlock_sandbox import Landlock
from verifier.sandbox.plain_process import PlainProcess

SANDBOXES: dict[str, type[Sandbox]] = {
    Bubblewrap.name: Bubblewrap,
    Landlock.name: Landlock,
    PlainProcess.name: PlainProcess,
}


def sandbox_named(name: str) -> Sandbox:
    """Open one.

    Raises:
        UsageError: there is none of that name.
        SandboxUnavailableError: it cannot work on this host.
    """
    if name not in SANDBOXES:
        raise UsageError(f"--sandbox {name}: there are {', '.join(SANDBOXES)}")
    return SANDBOXES[name]()
