"""What the harness planted around the sandbox, told to the probes that look for it.

This package runs inside a sandbox, where nothing but the standard library is to be seen.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECRET_VARIABLE = "PGOLF_PROBE_SECRET"
"""Set in the harness's environment while probes run; its value is told to nobody."""
PLANTED_FILE = "planted.json"
DATA_FILES = ("appended", "replaced", "renamed", "removed", "opened", "remounted", "linked")
"""Names of the planted data files, one for each way of tampering; each holds DATA."""
DATA = "tokens"


class NotApplicable(Exception):  # noqa: N818  (no error: an answer)
    """The check has no meaning on this host; the message says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Planted:
    """Places and numbers outside; each must be out of reach unless it says otherwise."""

    secret_file: str
    """Readable by everyone on the host, and not part of the command."""
    neighbour_file: str
    """The same in the run directory, as another seed's results would lie."""
    data_folder: str
    """Part of the command, read-only; holds DATA_FILES."""
    host_port: int
    """Open on the host's loopback."""
    abstract_socket: str
    """Name of a listening socket of the host's, without its leading NUL."""
    socket_file: str
    """A listening socket in the host's file system."""
    bystander_pid: int
    """A process of the harness's user, outside."""
    marker: str
    """Stands on the bystander's command line and nowhere else."""
    gpu_nodes: tuple[str, ...]
    """Part of the sandbox."""
    cpus: tuple[int, ...]
    """The CPUs that the harness may use."""


def read_planted() -> Planted:
    """Read the file that the harness left in the working folder."""
    fields: dict[str, Any] = json.loads(Path(PLANTED_FILE).read_text())
    fields |= {name: tuple(fields[name]) for name in ("gpu_nodes", "cpus")}
    return Planted(**fields)
