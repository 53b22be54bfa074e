"""Whatever kills a run, and whenever: what was finished stays, and nothing else passes for it."""

import os
import random
import re
import subprocess
import time
from pathlib import Path

import pytest
from kill_trial import PROGRAM, finished, kill_at_random, make_workplace, start
from tiny_track import HONEST_SCRIPT

SEED = time.time_ns() % 2**32
"""Other kill points every time; a failure names it, and it can be set here to see it again."""
FILLS_AT_TWO = (
    "import os, pathlib\n"
    "if os.environ['SEED'] == '2' and not pathlib.Path(os.environ['DATA_PATH'], 'go').exists():\n"
    "    for _ in range(500): print('x' * 1_000)\n"
) + HONEST_SCRIPT


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    return make_workplace(tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path):
    """A disk that holds three short logs, and not one long one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow  # each stage's own test is in runs/test_journal.py
def test_random_kills_lose_nothing_that_was_finished(workplace):
    tally = kill_at_random(workplace, num_kills=15, chance=random.Random(SEED))
    assert tally.wrongs == [], f"seed {SEED}"
    assert tally.kills == 15
    assert tally.runs_completed >= 1


def test_two_harnesses_at_once_leave_one_run(workplace, tmp_path):
    out = tmp_path / "out"
    both = [start(workplace, out) for _ in range(2)]
    errors = [harness.communicate(timeout=240)[1] for harness in both]
    codes = {harness.returncode for harness in both}
    assert 0 in codes <= {0, 4}, errors  # two of 0, where one began when the other was through
    assert ("another pgolf-verify is at work there" in "".join(errors)) == (4 in codes)
    assert len(finished(out)) == 3


@pytest.mark.parametrize("record", ["plan.json", "seed_2/measurement.json", "evidence.json"])
def test_a_record_that_was_changed_by_hand_is_not_judged(workplace, tmp_path, record):
    out = tmp_path / "out"
    assert start(workplace, out).wait(timeout=240) == 0
    text = (out / record).read_text()
    (out / record).write_text(text.replace("2", "1"))
    judged = subprocess.run([PROGRAM, "judge", out], capture_output=True, text=True)
    resumed = start(workplace, out)
    errors = judged.stderr + resumed.communicate(timeout=240)[1]
    assert 4 in (resumed.returncode, judged.returncode)
    assert re.search(r"changed since it was written|damaged or of another version", errors)


def test_a_full_disk_keeps_what_was_finished_until_there_is_room(workplace, small_disk):
    (workplace / "submission" / "train_gpt.py").write_text(FILLS_AT_TWO)
    for _ in range(2):  # the second time it is full from the start
        full = start(workplace, small_disk / "out")
        _, errors = full.communicate(timeout=240)
        assert full.returncode == 4, errors
        assert errors.count("\n") == 1
        assert "No space left on device" in errors
        assert list(finished(small_disk / "out")) == ["seed_1"]
    before = finished(small_disk / "out")
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    (workplace / "data" / "datasets" / "tiny_sp64" / "go").touch()
    resumed = start(workplace, small_disk / "out")
    assert resumed.wait(timeout=240) == 0, resumed.communicate()
    assert finished(small_disk / "out").items() > before.items()
