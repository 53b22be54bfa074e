"""doctor and fetch: what this machine can do, and what comes onto it from elsewhere."""

import tempfile
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from verifier.commands.options import Options, result_console
from verifier.errors import SandboxUnavailableError
from verifier.fetching import fetch_pull_request
from verifier.rulebook import DEFAULT_TRACK, load_rulebook
from verifier.runs.host import describe_host
from verifier.sandbox.bubblewrap import Bubblewrap

GRADE_STYLES = {"proved": "green", "configured": "green", "observed": "yellow", "absent": "red"}


def doctor(options: Options) -> int:
    """Describe the host, probe the sandbox from inside; 4 when nothing untrusted can be run."""
    console = result_console(options)
    track = load_rulebook(options["track"] or DEFAULT_TRACK).track
    host = describe_host(track.hardware)
    console.print(f"{host.cpu}, {host.num_cpus} CPUs, {host.memory_bytes / 1e9:.0f} GB memory")
    console.print(f"GPUs: {', '.join(host.gpus) or 'none'}")
    console.print(f"Python {host.python}, torch {host.torch or 'not installed'}")
    word = "meets" if host.meets_track else "does not meet"
    console.print(f"This machine {word} the hardware of track {track.id}.")
    try:
        with tempfile.TemporaryDirectory(prefix="pgolf-doctor-") as scratch:
            _print_guarantees(Bubblewrap(), Path(scratch), console)
    except SandboxUnavailableError as error:
        console.print(f"Sandbox: none. {error}", style="red", markup=False)
        return error.exit_code
    return 0


def _print_guarantees(sandbox: Bubblewrap, scratch: Path, console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD, title=f"sandbox {sandbox.name}", title_justify="left")
    for column in ("guarantee", "grade", "how we know"):
        table.add_column(column)
    for held in sandbox.guarantees(scratch):
        table.add_row(held.name, f"[{GRADE_STYLES[held.grade]}]{held.grade}[/]", held.detail)
    console.print(table)


def fetch(number: int, remote: str, into: Path) -> int:
    """Bring one pull request's submission folder, and note its commit."""
    fetched = fetch_pull_request(number, remote, into)
    print(f"{into / str(number)}: {fetched.path} at commit {fetched.commit}")
    return 0
