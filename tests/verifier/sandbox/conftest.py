"""Small programs under a sandbox."""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from sandbox_users import require_interpreter_of_others

from verifier.sandbox.base import SandboxCommand
from verifier.sandbox.limits import SandboxLimits

LIMITS = SandboxLimits(
    wall_seconds=90,
    memory_bytes=2**32,
    num_processes=512,
    output_bytes=2**20,
    scratch_bytes=2**23,
)
TWO_RANKS = """
import os, torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.ones(1) * dist.get_rank()
dist.all_reduce(total)
dist.barrier()
os.write(1, b"sum %d\\n" % total)
dist.destroy_process_group()
"""


@pytest.fixture
def folder():
    """An empty folder that every user may enter, as a run directory is; tmp_path is closed."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def python(folder: Path):
    """Run Python in a sandbox: how it ended, and the lines that it printed."""
    workdir = folder / "work"
    workdir.mkdir()

    def run(
        sandbox,
        *arguments: str,
        on_line=None,
        environment=None,
        read_only=None,
        hidden=(),
        **limits,
    ):
        if sandbox.name == "landlock" and Path(sys.executable).exists():
            require_interpreter_of_others()
        command = SandboxCommand(
            argv=(sys.executable, *arguments),
            workdir=workdir,
            environment=environment or {},
            read_only=read_only or {},
            hidden=hidden,
        )
        lines: list[bytes] = []
        listen = on_line or (lambda _, line: lines.append(line))
        return sandbox.execute(command, replace(LIMITS, **limits), listen), lines

    run.workdir = workdir
    return run


@pytest.fixture
def two_ranks(python):
    """Two processes of torchrun that add their ranks up."""

    def run(sandbox):
        (python.workdir / "ranks.py").write_text(TWO_RANKS)
        torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
        return python(sandbox, *torchrun, "ranks.py")

    return run
