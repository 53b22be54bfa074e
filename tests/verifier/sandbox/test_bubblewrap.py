"""Bubblewrap's own ways to fail, and what honest scripts need of it."""

import os

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


def test_an_unwilling_bwrap_is_no_result_of_the_submission(monkeypatch, tmp_path, python):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho no namespaces for you; exit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SandboxUnavailableError, match="no namespaces for you"):
        python(Bubblewrap(), "-c", "pass")


@pytest.mark.gpu
def test_cuda_works_under_the_filter(python):
    code = "import torch; x = torch.ones(1000, device='cuda'); print(int(torch.compile(sum)(x)))"
    result, lines = python(Bubblewrap(), "-c", code)
    assert (result.exit_code, lines[-1:]) == (0, [b"1000"])
