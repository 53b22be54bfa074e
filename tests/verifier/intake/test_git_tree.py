"""Trees that no commit of a friend holds: made by hand, as a pull request can push them."""

import os
import subprocess
from pathlib import Path

import pytest

from verifier.errors import UsageError
from verifier.intake.git_tree import write_tree

BLOB, PROGRAM, LINK, TREE, SUBMODULE = "100644", "100755", "120000", "040000", "160000"
NO_COMMIT = "1" * 40


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    return folder


def git(folder: Path, *words: str, given: bytes = b"") -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, input=given).stdout.decode()[
        :40
    ]


def tree(repository: Path, *entries: tuple[str, bytes, bytes | str]) -> str:
    """A tree object as it is stored, so that nothing checks its names: (mode, name, content)."""
    stored = b""
    for mode, name, content in entries:
        if isinstance(content, bytes):
            content = git(repository, "hash-object", "-w", "--stdin", given=content)
        stored += f"{mode.lstrip('0')} ".encode() + name + b"\0" + bytes.fromhex(content)
    words = ("hash-object", "-t", "tree", "-w", "--stdin", "--literally")
    return git(repository, *words, given=stored)


def test_files_links_programs_and_submodules_arrive_as_they_were(repository, tmp_path):
    inner = tree(repository, (BLOB, b"a\xff", b"1\r\n"), (LINK, b"up", b"../run.sh"))
    outer = (
        (TREE, b"inner", inner),
        (LINK, b"nowhere", b"inner/later"),
        (PROGRAM, b"run.sh", b"#!"),
        (SUBMODULE, b"submodule", NO_COMMIT),
    )
    target = tmp_path / "7"
    write_tree(repository, tree(repository, *outer), target)
    assert (target / os.fsdecode(b"inner/a\xff")).read_bytes() == b"1\r\n"
    assert (target / "inner/up").resolve() == target / "run.sh"
    assert (target / "nowhere").is_symlink() and not (target / "nowhere").exists()
    assert (target / "run.sh").stat().st_mode & 0o777 == 0o755
    assert list((target / "submodule").iterdir()) == []


def test_an_empty_blob_and_one_of_newlines_are_told_apart(repository, tmp_path):
    entries = ((BLOB, b"a", b""), (BLOB, b"b", b"\n\n"), (BLOB, b"c", b""), (BLOB, b"d", b"d"))
    write_tree(repository, tree(repository, *entries), tmp_path / "7")
    assert [(tmp_path / "7" / name).read_bytes() for name in "abcd"] == [b"", b"\n\n", b"", b"d"]


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([(BLOB, b"..", b"x")], id="the folder above"),
        pytest.param([(BLOB, b".git", b"x")], id="a repository's own"),
        pytest.param([(BLOB, b"../x", b"x")], id="a slash in a name"),
        pytest.param([(LINK, b"x", b"../..")], id="a link above"),
        pytest.param([(LINK, b"x", b"/etc")], id="an absolute link"),
        pytest.param([(LINK, b"x", b"")], id="an empty link"),
        pytest.param([(LINK, b"x", b"a\0b")], id="a link with a zero"),
        pytest.param([(BLOB, b"x", b"1"), (BLOB, b"x", b"2")], id="a name twice"),
        pytest.param([(BLOB, b"x", b"1"), (LINK, b"x", b"y")], id="a file that is a link too"),
        # Each stays within on its own; together they do not.
        pytest.param([(LINK, b"a", b"b/.."), (LINK, b"b", b".")], id="two links"),
    ],
)
def test_what_would_reach_out_is_refused_and_leaves_nothing(repository, tmp_path, entries):
    with pytest.raises(UsageError, match="not unpacked"):
        write_tree(repository, tree(repository, *entries), tmp_path / "into" / "7")
    assert list(tmp_path.glob("into/*")) == list(tmp_path.glob("into/.*")) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["into", "repository"]


def test_a_folder_that_is_a_link_too_is_written_through_by_no_file(repository, tmp_path):
    inner = tree(repository, (BLOB, b"x", b"1"))
    both = tree(repository, (LINK, b"inner", b"../.."), (TREE, b"inner", inner))
    with pytest.raises(UsageError, match="not unpacked"):
        write_tree(repository, both, tmp_path / "into" / "7")
    assert not (tmp_path / "x").exists() and not (tmp_path.parent / "x").exists()


def test_links_in_a_circle_lead_nowhere(repository, tmp_path):
    circle = tree(repository, (LINK, b"a", b"b"), (LINK, b"b", b"a"))
    write_tree(repository, circle, tmp_path / "7")
    assert (tmp_path / "7/a").is_symlink()
