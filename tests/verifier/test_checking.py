"""check: what changed since a revision, and again while a folder is edited."""

import os
import queue
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from verifier.errors import HarnessError
from verifier.intake.fetching import changed_submissions

ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 60


@pytest.fixture
def work_tree(tmp_path: Path) -> Path:
    """A work tree with one committed file in each of two submissions."""
    for name in ("records/track_x/one/train_gpt.py", "submissions/two/train_gpt.py", "other.md"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("print()\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "base"]):
        subprocess.run(["git", "-C", tmp_path, *who, *words], check=True)
    return tmp_path


def test_nothing_changed_is_nothing(work_tree):
    assert changed_submissions(work_tree, "HEAD") == ()


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("records/track_x/one/logs/deep/a.log", "records/track_x/one"),
        ("records/track_x/new one/README.md", "records/track_x/new one"),
        ("submissions/two/train_gpt.py", "submissions/two"),
        ("submissions/sübmission\n2/a", "submissions/sübmission\n2"),
    ],
)
def test_a_changed_or_new_file_names_its_submission(work_tree, file, folder):
    path = work_tree / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("changed\n")
    assert changed_submissions(work_tree, "HEAD") == (folder,)


@pytest.mark.parametrize("file", ["other.md", "records/track_x/README.md", "submissions/README.md"])
def test_a_file_of_no_submission_names_none(work_tree, file):
    (work_tree / file).write_text("changed\n")
    assert changed_submissions(work_tree, "HEAD") == ()


def test_a_submission_that_is_gone_is_left_out(work_tree):
    shutil.rmtree(work_tree / "submissions/two")
    assert changed_submissions(work_tree, "HEAD") == ()


@pytest.mark.parametrize("base", ["nowhere", "--output=x", ""])
def test_a_base_that_is_no_revision_is_an_error(work_tree, base):
    with pytest.raises(HarnessError):
        changed_submissions(work_tree, base)
    assert not (work_tree / "x").exists()


@pytest.fixture
def watching(tmp_path):
    """A watched copy of a submission, and the lines that are printed about it."""
    folder = tmp_path / "mine"
    shutil.copytree(ROOT / "submissions/demo", folder)
    process = subprocess.Popen(
        [sys.executable, "-m", "verifier", "check", "--watch", str(folder)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    lines: queue.Queue[str] = queue.Queue()
    reader = threading.Thread(target=lambda: [lines.put(line) for line in process.stdout])
    reader.start()
    yield folder, lines
    process.terminate()
    process.wait()
    reader.join()


def next_verdict(lines: "queue.Queue[str]") -> str:
    while True:
        line = lines.get(timeout=WAIT_SECONDS)
        if line.startswith(("INCONCLUSIVE", "REJECTED")):
            return line.split(":")[0]


def test_a_watched_folder_is_checked_again_when_a_file_changes(watching):
    folder, lines = watching
    assert next_verdict(lines) == "INCONCLUSIVE"
    (folder / "README.md").unlink()
    assert next_verdict(lines) == "REJECTED"
