"""What happens around a run: a listener that fails, a command that is none, descriptors."""

import os
import sys
from pathlib import Path

import pytest

from verifier.errors import SandboxUnavailableError, UsageError
from verifier.sandbox.choice import SANDBOXES, sandbox_named
from verifier.sandbox.conformance.stage import survivors


@pytest.fixture(params=SANDBOXES)
def sandbox(request):
    return sandbox_named(request.param)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_listener_that_fails_leaves_no_process(sandbox, python):
    marker = f"deaf-{os.getpid()}-{sandbox.name}"
    code = "import time; print('hello', flush=True); time.sleep(60)"

    def interrupted(seconds: float, line: bytes) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        python(sandbox, "-c", code, marker, on_line=interrupted)
    assert survivors(marker) is None


@pytest.mark.parametrize("value", ["a\0b", "x" * 3_000_000])
def test_a_command_that_cannot_start_is_one_line(sandbox, python, value):
    with pytest.raises(SandboxUnavailableError, match="cannot be started") as caught:
        python(sandbox, "-c", "pass", environment={"VALUE": value})
    assert "\n" not in str(caught.value)


def test_neither_a_run_nor_a_failed_start_leaves_an_open_descriptor(sandbox, python):
    before = open_descriptors()
    python(sandbox, "-c", "pass")
    with pytest.raises(SandboxUnavailableError):
        python(sandbox, "-c", "pass", environment={"VALUE": "a\0b"})
    assert open_descriptors() == before


def test_an_unknown_sandbox_is_a_usage_error():
    with pytest.raises(UsageError, match="there are bubblewrap, landlock, plain"):
        sandbox_named("gvisor")


def test_the_interpreter_inside_is_ours(sandbox, python):
    _, lines = python(sandbox, "-c", "import sys; print(sys.executable)")
    assert lines == [sys.executable.encode()]
