"""What every sandbox hands on of the machine."""

from pathlib import Path

import pytest

from verifier.sandbox import bubblewrap_arguments
from verifier.sandbox.base import SandboxCommand
from verifier.sandbox.bubblewrap import Bubblewrap
from verifier.sandbox.landlock_sandbox import Landlock
from verifier.sandbox.limits import SandboxLimits
from verifier.sandbox.plain_process import PlainProcess
from verifier.sandbox.visible_system import MACHINE_SETTINGS

PRINT = f"import os; print([os.environ.get(name) for name in {MACHINE_SETTINGS}])"


@pytest.mark.parametrize("sandbox", [Bubblewrap, Landlock, PlainProcess])
def test_no_command_turns_on_the_multicast_that_a_machine_turned_off(python, monkeypatch, sandbox):
    monkeypatch.setenv("NCCL_NVLS_ENABLE", "0")
    monkeypatch.setenv("TORCH_SYMM_MEM_DISABLE_MULTICAST", "1")
    monkeypatch.delenv("NVSHMEM_DISABLE_NVLS", raising=False)
    _, lines = python(sandbox(), "-c", PRINT, environment={"NCCL_NVLS_ENABLE": "1"})
    assert lines == [b"['0', '1', None]"]


def test_the_nodes_of_all_gpus_come_after_the_private_dev(monkeypatch, tmp_path):
    nodes = [Path(f"/dev/nvidia{name}") for name in (*range(8), "-uvm", "ctl")]
    monkeypatch.setattr(bubblewrap_arguments, "gpu_nodes", lambda: nodes)
    names = ("wall_seconds", "memory_bytes", "num_processes", "output_bytes", "scratch_bytes")
    limits = SandboxLimits(**dict.fromkeys(names, 1))
    command = SandboxCommand(argv=("true",), workdir=tmp_path)
    words = bubblewrap_arguments.bwrap_arguments(command, limits, {})
    bound = [words.index(str(node)) for node in nodes]
    assert [words[index - 1] for index in bound] == ["--dev-bind-try"] * 10
    assert words.index("--dev") < min(bound) and max(bound) < words.index("--remount-ro")
