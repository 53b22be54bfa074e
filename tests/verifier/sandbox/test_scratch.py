"""Folders that a stranger filled are weighed, and removed, without being followed."""

import os
from pathlib import Path

import pytest

from verifier.sandbox.scratch import TOO_MUCH, remove_tree, scratch_bytes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "filled").mkdir()
    return tmp_path / "filled"


def dig(folder: Path, levels: int) -> None:
    """Nest folders deeper than one path can name."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d" * 50, dir_fd=here)
        deeper = os.open("d" * 50, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)


def test_bytes_on_disk_are_counted_at_every_level(folder):
    (folder / "inner").mkdir()
    for place in (folder / "a", folder / "inner" / "b"):
        place.write_bytes(os.urandom(100_000))
    assert 200_000 <= scratch_bytes(folder) < 300_000


def test_links_are_not_followed(folder, tmp_path):
    (tmp_path / "large").write_bytes(os.urandom(100_000))
    (folder / "link").symlink_to(tmp_path / "large")
    (folder / "loop").symlink_to(folder)
    assert scratch_bytes(folder) < 50_000


def test_a_hole_weighs_nothing(folder):
    with (folder / "sparse").open("wb") as file:
        file.truncate(10**12)
    assert scratch_bytes(folder) < 50_000


def test_too_many_entries_are_too_much(folder):
    for number in range(11):
        (folder / str(number)).touch()
    assert scratch_bytes(folder, max_entries=10) == TOO_MUCH


def test_what_lies_too_deep_to_be_seen_is_too_much(folder):
    dig(folder, 100)
    assert scratch_bytes(folder) == TOO_MUCH


def test_an_absent_folder_holds_nothing_and_is_removed(folder):
    assert scratch_bytes(folder / "none") == 0
    remove_tree(folder / "none")


def test_a_deep_tree_is_removed(folder):
    dig(folder, 1_500)
    remove_tree(folder)
    assert not folder.exists()


def test_links_are_removed_and_what_they_name_is_not(folder, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    (folder / "link").symlink_to(tmp_path / "kept")
    (folder / "dangling").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    remove_tree(folder)
    assert not folder.exists()
    assert (tmp_path / "kept" / "file").exists()


def test_closed_folders_are_removed(folder):
    (folder / "shut" / "inner").mkdir(parents=True)
    (folder / "shut" / "inner" / "file").touch()
    (folder / "shut").chmod(0)
    folder.chmod(0o500)
    remove_tree(folder)
    assert not folder.exists()
