"""Being told to end before anything runs: one line, its own exit code, nothing left behind."""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
TOLD = "pgolf-verify: interrupted\n"
MEANWHILE = """\
import os, sys, time
from verifier.cli import main
from verifier.commands import checking

def check(*_):
    {begun}

checking.check = check
sys.argv = ["pgolf-verify", "check", "mine"]
main()
"""
WAITING = "print('begun', flush=True); time.sleep(600)"
"""Stands for the reading of a large folder."""
WITHIN_EXEC = "exec('os.kill(os.getpid(), {number})')"
"""As in the import of a dataclass."""
TOLD_AS_ITS_OWN = """try:
        os.kill(os.getpid(), {number})
    except BaseException as error:
        raise RuntimeError("a field could not be named") from error
"""


def start(*words: str, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_what_is_read_is_left_with_a_line(number):
    process = start("-c", MEANWHILE.format(begun=WAITING))
    assert process.stdout.readline() == "begun\n"
    process.send_signal(number)
    assert process.communicate(timeout=60) == ("", TOLD)
    assert process.returncode == 130


@pytest.mark.parametrize("begun", [WITHIN_EXEC, TOLD_AS_ITS_OWN])
def test_no_interrupt_is_told_as_something_else(number, begun):
    process = start("-c", MEANWHILE.format(begun=begun.format(number=int(number))))
    assert process.communicate(timeout=60) == ("", TOLD)
    assert process.returncode == 130


@pytest.fixture
def short_place():
    """Sockets are tried in it, whose paths must be short."""
    with tempfile.TemporaryDirectory(prefix="pgolf-") as name:
        yield Path(name)


def test_trying_the_sandboxes_ends_with_what_they_run(number, short_place):
    words = ("doctor", "--sandbox", "plain")
    environment = {"TMPDIR": str(short_place), "PATH": "/usr/bin:/bin"}
    process = start("-m", "verifier", *words, env=environment)
    doctor, seen = psutil.Process(process.pid), list[psutil.Process]()
    while not seen:
        assert process.poll() is None
        seen = doctor.children(recursive=True)
        time.sleep(0.01)
    process.send_signal(number)
    assert process.communicate(timeout=120) == ("", TOLD)
    assert process.returncode == 130
    assert not psutil.wait_procs(seen, timeout=60)[1]
    assert not list(short_place.iterdir())


def test_who_is_to_ignore_it_goes_on(number):
    if number == signal.SIGINT:
        pytest.skip("Ctrl-C is always heard")
    ignoring = f"import signal; signal.signal({int(number)}, signal.SIG_IGN)\n"
    waits = ignoring + MEANWHILE.format(begun="print('begun', flush=True); return len(input()) - 2")
    process = start("-c", waits, stdin=subprocess.PIPE)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(number)
    assert process.communicate("go\n", timeout=60) == ("", "")
    assert process.returncode == 0
