"""The sandbox without namespaces: honest scripts run, and what it cannot confine it refuses."""

import os
import signal
import subprocess
import sys
import time

import pytest
from sandbox_users import require_interpreter_of_others

from verifier.errors import SandboxUnavailableError
from verifier.sandbox import landlock_sandbox
from verifier.sandbox.landlock_sandbox import Landlock

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give the command a user")


def test_torchrun_brings_two_ranks_together(two_ranks):
    result, lines = two_ranks(Landlock())
    assert result.exit_code == 0, lines
    assert lines.count(b"sum 1") == 2


def test_of_two_files_in_a_folder_the_named_one_is_found_and_read(python, folder):
    (folder / "shards").mkdir()
    for name in ("train", "val"):
        (folder / "shards" / name).write_text(name)
    code = (
        "import pathlib, sys\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()): print(path.read_text())"
    )
    seen = {folder / "shards" / "train": "/pgolf/data/train"}
    _, lines = python(Landlock(), "-c", code, str(folder / "shards"), read_only=seen)
    assert lines[0] == b"train"
    assert b"PermissionError" in lines[-1] and b"val" in lines[-1]


@AS_ROOT
def test_the_command_is_a_user_of_its_own(python):
    _, lines = python(Landlock(), "-c", "import os; print(os.getuid(), os.getgroups())")
    assert int(lines[0].split()[0]) >= landlock_sandbox.FIRST_RUNNER_ID
    assert lines[0].endswith(b"[]")


@AS_ROOT
def test_a_folder_that_its_user_cannot_enter_is_named(python, folder):
    folder.chmod(0o700)
    with pytest.raises(SandboxUnavailableError, match="chmod o\\+x"):
        python(Landlock(), "-c", "pass")


def test_a_command_that_does_not_exist_is_none(python, monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/sh-that-is-not")
    with pytest.raises(SandboxUnavailableError, match="cannot be started"):
        python(Landlock(), "-c", "pass")


def test_without_landlock_nothing_is_run(monkeypatch):
    monkeypatch.setattr(landlock_sandbox, "landlock_abi", lambda: 0)
    with pytest.raises(SandboxUnavailableError, match="no Landlock"):
        Landlock()


DIES_WHEN_IT_HAS_ASKED = """
import os, sys
from pathlib import Path
from verifier.sandbox import landlock_sandbox
from verifier.sandbox.base import SandboxCommand
from verifier.sandbox.conformance.stage import STAGE_LIMITS
def ask(between, request):
    os.write(between.request_pipe, request.to_json())
    os.kill(os.getpid(), 9)
landlock_sandbox._release = ask
command = SandboxCommand(argv=("/usr/bin/touch", "ran"), workdir=Path(sys.argv[1]))
landlock_sandbox.Landlock().execute(command, STAGE_LIMITS, print)
"""
"""A harness killed before the process between could tie itself to its life."""


def test_nothing_runs_of_a_harness_killed_at_the_start(folder):
    require_interpreter_of_others()
    harness = subprocess.Popen([sys.executable, "-c", DIES_WHEN_IT_HAS_ASKED, str(folder)])
    assert harness.wait() == -signal.SIGKILL
    time.sleep(1)  # in which the process between would have started and run the command
    assert list(folder.iterdir()) == []


@pytest.mark.gpu
def test_cuda_works_under_landlock(python):
    code = "import torch; print(int(torch.ones(1000, device='cuda').sum()))"
    result, lines = python(Landlock(), "-c", code)
    assert (result.exit_code, lines[-1:]) == (0, [b"1000"])
