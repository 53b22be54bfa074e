import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.intake.bounded_files import read_bounded, walk_folder


@given(st.binary(max_size=300), st.integers(1, 40))
def test_head_and_tail_are_the_ends_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, window_bytes: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "data"
    path.write_bytes(data)
    content = read_bounded(path, window_bytes, 1 << 20)
    assert (content.num_bytes, content.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert data.startswith(content.head) and data.endswith(content.tail)
    assert len(content.head) <= 2 * window_bytes and len(content.tail) <= window_bytes


def test_lines_left_out_are_counted(tmp_path: Path) -> None:
    lines = [f"{number}\n" for number in range(1, 1001)]
    (tmp_path / "log").write_text("".join(lines))
    content = read_bounded(tmp_path / "log", 20, 1 << 20)
    first_of_tail = int(content.tail.split()[0])
    assert content.head.count(b"\n") + content.lines_cut + 1 == first_of_tail


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 101)
    with pytest.raises(OverflowError, match="more than 100 bytes"):
        read_bounded(tmp_path / "big", 10, 100)


def test_a_pipe_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError):
        read_bounded(tmp_path / "pipe", 10, 100)


def test_a_link_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(OSError):
        read_bounded(tmp_path / "link", 10, 100)


def test_folders_count_against_the_entries(tmp_path: Path) -> None:
    for number in range(11):
        (tmp_path / str(number)).mkdir()
    with pytest.raises(OverflowError, match="more than 10 files and folders"):
        list(walk_folder(tmp_path, 8, 10))


def test_what_lies_too_deep_is_named(tmp_path: Path) -> None:
    (tmp_path / "a/b/c").mkdir(parents=True)
    (tmp_path / "a/b/c/file").touch()
    (entry,) = walk_folder(tmp_path, 3, 100)
    assert entry.parts == ("a", "b", "c")
    assert entry.refusal is not None and "deeper than 3" in entry.refusal
