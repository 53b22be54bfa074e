"""Bubblewrap's own ways to fail, and what honest scripts need of it."""

import email
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from verifier.errors import SandboxUnavailableError
from verifier.sandbox.bubblewrap import Bubblewrap


def test_torchrun_brings_two_ranks_together(two_ranks):
    result, lines = two_ranks(Bubblewrap())
    assert result.exit_code == 0, lines
    assert lines.count(b"sum 1") == 2


def test_without_bwrap_nothing_is_run(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SandboxUnavailableError, match="bubblewrap is missing"):
        Bubblewrap()


def test_a_script_finds_as_many_folders_above_it_as_in_the_public_repository(python):
    code = "from pathlib import Path; print(Path.cwd().parents[3])"
    assert python(Bubblewrap(), "-I", "-S", "-c", code)[1] == [b"/"]


def test_a_folder_of_the_interpreter_can_be_hidden(python):
    folder = Path(email.__file__).parent
    code = f"import os; print(os.listdir({str(folder)!r}))"
    assert python(Bubblewrap(), "-I", "-S", "-c", code)[1] != [b"[]"]
    assert python(Bubblewrap(), "-I", "-S", "-c", code, hidden=(folder,))[1] == [b"[]"]


def test_an_unwilling_bwrap_is_no_result_of_the_submission(monkeypatch, tmp_path, python):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho no namespaces for you; exit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SandboxUnavailableError, match="no namespaces for you"):
        python(Bubblewrap(), "-c", "pass")


DIES_AT_THE_GATE = """
import os, sys
from pathlib import Path
from verifier.sandbox import bubblewrap
from verifier.sandbox.base import SandboxCommand
from verifier.sandbox.conformance.stage import STAGE_LIMITS
bubblewrap._set_rlimits = lambda *_: os.kill(os.getpid(), 9)
command = SandboxCommand(argv=("/bin/touch", "ran"), workdir=Path(sys.argv[1]))
bubblewrap.Bubblewrap().execute(command, STAGE_LIMITS, print)
"""
"""A harness killed when its command stands ready and no limit is set yet."""


def waiting_for(pid: int) -> list[str]:
    """Processes of sandboxes that belong to this harness."""
    names = [p.info["cmdline"][0] for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"]]
    return [name for name in names if re.match(rf"pgolf-sandbox-\d+-{pid}-", name)]


def test_nothing_runs_of_a_harness_killed_before_it_set_the_limits(folder):
    harness = subprocess.Popen([sys.executable, "-c", DIES_AT_THE_GATE, str(folder)])
    assert harness.wait() == -signal.SIGKILL
    time.sleep(0.3)  # in which a command that was let go would have run
    assert list(folder.iterdir()) == []
    Bubblewrap()  # the next start ends what still waits, unless another's did so before
    while waiting_for(harness.pid):  # what was killed takes a moment to go
        time.sleep(0.02)


@pytest.mark.gpu
def test_cuda_works_under_the_filter(python):
    code = "import torch; x = torch.ones(1000, device='cuda'); print(int(torch.compile(sum)(x)))"
    result, lines = python(Bubblewrap(), "-c", code)
    assert (result.exit_code, lines[-1:]) == (0, [b"1000"])
