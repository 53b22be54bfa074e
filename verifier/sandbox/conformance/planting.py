"""What stands around a sandbox while it is probed: files, sockets and a process to be missed."""

import contextlib
import dataclasses
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from verifier.errors import SandboxUnavailableError
from verifier.sandbox.conformance.inside.planted import (
    DATA,
    DATA_FILES,
    PLANTED_FILE,
    SECRET_VARIABLE,
    Planted,
)
from verifier.sandbox.leftovers import owned_name, sweep
from verifier.sandbox.scratch import remove_tree
from verifier.sandbox.visible_system import gpu_nodes

DATA_INSIDE = "/pgolf/probe_data"
MAX_ADDRESS_BYTES = 107
"""unix(7): `sun_path` has 108, the last of them a zero."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plot:
    """The folders of one probing."""

    workdir: Path
    data_folder: Path
    planted: Planted

    def tell(self) -> None:
        """Write down for the probes what was planted."""
        fields = dataclasses.asdict(self.planted)
        (self.workdir / PLANTED_FILE).write_text(json.dumps(fields))


@contextlib.contextmanager
def planted_around(folder: Path, sees_host_paths: bool) -> Iterator[Plot]:
    """Plant everything; dig it all up at the end.

    Args:
        folder: empty, in the run directory; the probes' working folder is made below it.
        sees_host_paths: whether the sandbox shows the data at its host path.
    """
    marker = f"pgolf-bystander-{secrets.token_hex(8)}"
    with (
        _secret_environment(),
        _folder_outside() as outside,
        _bystander(marker) as bystander_pid,
        socket.create_server(("127.0.0.1", 0)) as port,
        _local_server("\0" + marker),
        _local_server(str(outside / "socket")),
    ):
        secret, neighbour = outside / "secret", folder / "neighbour" / "score"
        data_folder, workdir = folder / "data", folder / "probe"
        for place in (neighbour.parent, data_folder, workdir):
            place.mkdir()
        secret.write_text(marker)
        neighbour.write_text(marker)
        for name in DATA_FILES:
            (data_folder / name).write_text(DATA)
        yield Plot(
            workdir=workdir,
            data_folder=data_folder,
            planted=Planted(
                secret_file=str(secret),
                neighbour_file=str(neighbour.resolve()),
                data_folder=str(data_folder.resolve()) if sees_host_paths else DATA_INSIDE,
                host_port=port.getsockname()[1],
                abstract_socket=marker,
                socket_file=str(outside / "socket"),
                bystander_pid=bystander_pid,
                marker=marker,
                gpu_nodes=tuple(map(str, gpu_nodes())),
                cpus=tuple(sorted(os.sched_getaffinity(0))),
            ),
        )


@contextlib.contextmanager
def _secret_environment() -> Iterator[None]:
    os.environ[SECRET_VARIABLE] = secrets.token_hex(16)
    try:
        yield
    finally:
        del os.environ[SECRET_VARIABLE]


@contextlib.contextmanager
def _folder_outside() -> Iterator[Path]:
    """A folder that every user of the host may read."""
    parent = Path(tempfile.gettempdir())
    sweep(parent, "planted", remove_tree)
    folder = parent / owned_name("planted")
    folder.mkdir(mode=0o755)
    try:
        yield folder
    finally:
        remove_tree(folder)


@contextlib.contextmanager
def _bystander(marker: str) -> Iterator[int]:
    """A process of ours that sleeps until its input ends, at the latest when we die."""
    argv = [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()", marker]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as process:
        yield process.pid


@contextlib.contextmanager
def _local_server(address: str) -> Iterator[None]:
    if len(os.fsencode(address)) > MAX_ADDRESS_BYTES:
        raise SandboxUnavailableError(
            f"{address}: too long for a socket's address, which has {MAX_ADDRESS_BYTES} bytes at "
            "most; set a shorter TMPDIR"
        )
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        yield
