import subprocess
import sys

import pytest

from trainer.errors import FolderError
from trainer.submission_folder.hold_folder import held

HOLD = """
import sys
from pathlib import Path
from trainer.submission_folder.hold_folder import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_of_two_commands_the_second_is_told_and_nothing_is_written(tmp_path):
    folder = tmp_path / "mine"
    with held(folder):
        with pytest.raises(FolderError, match="another pgolf-train is at work there"), held(folder):
            pass
        assert list(folder.iterdir()) == []
        (folder / "log").touch()
    with held(folder):
        assert [path.name for path in folder.iterdir()] == ["log"]


def test_what_was_killed_holds_nothing(tmp_path):
    folder, words = tmp_path / "mine", [sys.executable, "-c", HOLD]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([*words, str(folder)], **pipes) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(FolderError), held(folder):
            pass
        other.kill()
    with held(folder):
        pass


def test_a_folder_in_which_nothing_was_put_goes_again(tmp_path):
    with pytest.raises(ValueError), held(tmp_path / "new"):
        raise ValueError
    assert not (tmp_path / "new").exists()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FolderError, match="choose another --out"), held(tmp_path / "file"):
        pass
