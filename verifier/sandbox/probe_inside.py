"""Runs inside a sandbox and reports, as one JSON line, what it could do that it must not.

Arguments: a host file that must be invisible, a port open on the host's loopback, the harness's
process id. Needs nothing but the standard library, because it runs where nothing else is visible.
"""

import json
import os
import secrets
import socket
import sys
from pathlib import Path


def network_breaches(host_port: int) -> list[str]:
    """Outside addresses and the host's loopback must be unreachable; our own loopback not."""
    breaches = []
    for family, address in (
        (socket.AF_INET, ("192.0.2.1", 9)),  # TEST-NET-1: never a real host
        (socket.AF_INET6, ("2001:db8::1", 9)),  # the documentation prefix
    ):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(address)
                breaches.append(f"a route to {address[0]} exists")
            except OSError:
                pass
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", host_port)) == 0:
            breaches.append("the host's loopback is reachable")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        if client.connect_ex(server.getsockname()) != 0:
            breaches.append("loopback does not work, so torchrun cannot meet")
    return breaches


def write_breaches() -> list[str]:
    """Nothing but the working folder and private temporary folders may be writable."""
    breaches = []
    name = f"pgolf-probe-{secrets.token_hex(4)}"
    for folder in ("/usr", "/usr/local/bin", "/etc", "/sys", "/", sys.prefix, sys.base_prefix):
        target = Path(folder) / name
        try:
            target.touch()
        except OSError:
            continue
        # The root of a private mount is writable in some sandboxes and harms nobody.
        if folder != "/" and folder != "/etc":
            breaches.append(f"could write to {folder}")
        target.unlink()
    return breaches


def secret_breaches(secret: Path, harness_pid: int) -> list[str]:
    """The host's files, environment and processes must not be there."""
    breaches = []
    if secret.exists():
        breaches.append("a host file outside the plan is visible")
    if "PGOLF_PROBE_SECRET" in os.environ:
        breaches.append("the harness's environment is visible")
    command_line = Path(f"/proc/{harness_pid}/cmdline")
    if harness_pid > 64 and command_line.exists():
        breaches.append("the harness's process is visible")
    return breaches


def leave_daemon() -> str:
    """Detach a child that sleeps on; its marker lets the harness look for it afterwards."""
    marker = f"pgolf-daemon-{secrets.token_hex(8)}"
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            null = os.open(os.devnull, os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(null, fd)
            code = "import time; time.sleep(60)"
            os.execv(sys.executable, [sys.executable, "-I", "-c", code, marker])
        os._exit(0)
    return marker


def main() -> None:
    """Try everything, then say it in one line."""
    secret, host_port, harness_pid = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    answers = {
        "network": network_breaches(host_port),
        "file_writes": write_breaches(),
        "secrets": secret_breaches(secret, harness_pid),
        "daemon_marker": leave_daemon(),
    }
    print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
