"""What a killed harness leaves goes at the next start; what belongs to the living stays."""

import signal
import subprocess
import sys

import pytest

from verifier.sandbox.cgroup import CGROUP_ROOT, Cgroup
from verifier.sandbox.conformance.stage import STAGE_LIMITS
from verifier.sandbox.leftovers import end_named, end_orphans, owned_name, sweep
from verifier.sandbox.scratch import remove_tree


def name_of_the_dead(kind: str = "home") -> str:
    code = f"from verifier.sandbox.leftovers import owned_name; print(owned_name({kind!r}))"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_only_what_the_dead_owned_is_removed(tmp_path):
    dead, ours = tmp_path / name_of_the_dead(), tmp_path / owned_name("home")
    for path in (dead, ours, tmp_path / "pgolf-home-of-somebody"):
        path.mkdir()
    (dead / "file").touch()
    sweep(tmp_path, "home", remove_tree)
    assert {p.name for p in tmp_path.iterdir()} == {ours.name, "pgolf-home-of-somebody"}


def test_a_number_given_out_again_is_somebody_else(tmp_path):
    head, namespace, pid, ticks, token = owned_name("home").rsplit("-", 4)
    (tmp_path / f"{head}-{namespace}-{pid}-{int(ticks) - 1}-{token}").mkdir()
    sweep(tmp_path, "home", remove_tree)
    assert list(tmp_path.iterdir()) == []


def test_a_strangers_link_leads_nowhere(tmp_path):
    (tmp_path / "kept").mkdir()
    link = tmp_path / name_of_the_dead()
    link.symlink_to(tmp_path / "kept")
    sweep(tmp_path, "home", remove_tree)
    assert link.is_symlink() and (tmp_path / "kept").exists()


def sleeper(name: str) -> subprocess.Popen[bytes]:
    words = [name, "-c", "import time; print(flush=True); time.sleep(60)"]
    process = subprocess.Popen(words, executable=sys.executable, stdout=subprocess.PIPE)
    process.stdout.read(1)
    return process


def test_only_processes_of_the_dead_are_ended():
    with sleeper(name_of_the_dead("sandbox")) as orphan, sleeper(owned_name("sandbox")) as ours:
        end_orphans("sandbox")
        assert orphan.wait(timeout=60) == -signal.SIGKILL
        assert ours.poll() is None
        ours.kill()


def test_all_processes_of_one_name_are_ended_and_no_others():
    name = owned_name("sandbox")
    with sleeper(name) as first, sleeper(name) as second, sleeper(owned_name("sandbox")) as other:
        end_named(name)
        assert first.wait(timeout=60) == second.wait(timeout=60) == -signal.SIGKILL
        assert other.poll() is None
        other.kill()


def test_the_cgroup_of_a_killed_harness_goes_when_the_next_is_made():
    code = (
        "import os; from verifier.sandbox.cgroup import Cgroup\n"
        "from verifier.sandbox.conformance.stage import STAGE_LIMITS\n"
        "if Cgroup.create(STAGE_LIMITS): os.kill(os.getpid(), 9)"
    )
    killed = subprocess.Popen([sys.executable, "-c", code])
    if killed.wait() == 0:
        pytest.skip("no cgroup can be made here")
    left = list(CGROUP_ROOT.rglob(f"pgolf-cgroup-*-{killed.pid}-*"))
    assert left
    Cgroup.create(STAGE_LIMITS).remove()
    assert not any(path.exists() for path in left)
