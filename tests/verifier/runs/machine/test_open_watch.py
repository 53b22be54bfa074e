"""Every opening is told, through any mount, and files are traced to their packages."""

import subprocess
import sys
import time
from pathlib import Path

from verifier.runs.machine.open_watch import OpenWatch
from verifier.runs.machine.packages import PYTHON_ITSELF, installed_files, package_folders


def test_an_opening_in_another_mount_namespace_is_told_with_its_time(tmp_path):
    (tmp_path / "read").write_text("x")
    (tmp_path / "unread").write_text("x")
    words = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--tmpfs", "/mnt"]
    words += ["--ro-bind", str(tmp_path), "/mnt/inside"]
    before = time.monotonic()
    with OpenWatch([tmp_path]) as watch:
        subprocess.run([*words, "cat", "/mnt/inside/read"], check=True, capture_output=True)
    assert watch.is_complete
    assert list(watch.opened) == [tmp_path / "read"]
    assert before < watch.opened[tmp_path / "read"] < time.monotonic()


def test_what_cannot_be_watched_is_not_claimed_to_be(tmp_path):
    with OpenWatch([tmp_path, tmp_path / "none"]) as watch:
        pass
    assert not watch.is_complete


def test_more_events_than_the_kernel_keeps_are_not_claimed_to_be_all(tmp_path):
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for name in ("a", "b"):
        (tmp_path / name).touch()
    watch = OpenWatch([tmp_path])
    watch._listen = lambda: None  # a listener that never comes to listen
    with watch:
        for _ in range(limit // 2 + 1):
            (tmp_path / "a").read_bytes()
            (tmp_path / "b").read_bytes()
    assert not watch.is_complete


def package_of(module: str) -> str | None:
    path = Path(sys.modules[module].__file__)
    root = next(root for root in package_folders() if path.is_relative_to(root))
    return installed_files(root).package_of(path)


def test_a_module_belongs_to_its_package():
    import psutil  # noqa: F401
    import yaml  # noqa: F401

    assert package_of("psutil").startswith("psutil-")
    assert package_of("yaml").lower().startswith("pyyaml-")


def test_a_file_that_no_package_lists_is_nobodys(tmp_path):
    info = tmp_path / "honest-1.0.dist-info"
    info.mkdir()
    (info / "RECORD").write_text("honest/__init__.py,sha256=x,3\nhonest-1.0.dist-info/RECORD,,\n")
    files = installed_files(tmp_path)
    assert files.package_of(tmp_path / "honest" / "__init__.py") == "honest-1.0"
    assert files.package_of(tmp_path / "honest" / "weights.bin") is None
    assert files.package_of(tmp_path / "weights.bin") is None
    assert files.package_of(info / "RECORD") == PYTHON_ITSELF
