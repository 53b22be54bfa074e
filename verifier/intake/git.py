"""Git, run over repositories that strangers filled."""

import subprocess
from pathlib import Path

from verifier.errors import HarnessError

GIT_SECONDS = 600
NOBODYS_CONFIGURATION = ("-c", "safe.bareRepository=explicit", "-c", "core.fsmonitor=false")
"""A submission's folder can be shaped as a repository, whose configuration names programs."""


def run_git(repository: Path, *arguments: str, given: bytes = b"") -> bytes:
    """What git prints, run with no configuration, no prompt and no hook of anybody's.

    Args:
        repository: where it is run.
        arguments: of git.
        given: to its standard input.

    Raises:
        HarnessError: git is missing, failed (its last line is quoted), or took too long.
    """
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "HOME": str(repository),
    }
    try:
        result = subprocess.run(
            ["git", "-C", str(repository), *NOBODYS_CONFIGURATION, *arguments],
            input=given,
            capture_output=True,
            timeout=GIT_SECONDS,
            env=environment,
        )
    except FileNotFoundError:
        raise HarnessError("git is missing: install it (apt-get install git)") from None
    except subprocess.TimeoutExpired:
        raise HarnessError(f"git {arguments[0]} took over {GIT_SECONDS} s; try again") from None
    if result.returncode != 0:
        said = result.stderr.decode("utf-8", "replace").strip().splitlines()
        fatal = [line for line in said if line.startswith("fatal:")] or said or ["no reason given"]
        mend = "; run this as its owner, or chown it" if "dubious ownership" in fatal[0] else ""
        raise HarnessError(f"git {arguments[0]} failed: {fatal[0]}{mend}")
    return result.stdout
