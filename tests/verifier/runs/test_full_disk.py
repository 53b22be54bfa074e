"""A disk that fills up while results are written: one line, nothing lost, nothing half passes."""

import errno
import os
import subprocess
from pathlib import Path

import pytest

from verifier.errors import RunDirectoryError
from verifier.runs.journal import read_record
from verifier.schemas.run_record_json import Evidence
from verifier.schemas.verdict_json import VerdictFile

VERDICT_FILES = ("verdict.json", "report.txt", "summary.md", "report.html", "plots/clock.png")
PAGE_BYTES = 4096
RECORDS = {"evidence.json": Evidence, "verdict.json": VerdictFile}


@pytest.fixture
def full_at(monkeypatch):
    """A disk that is full half-way through the file of a name, until `None` makes room."""
    flush, full = os.fsync, []

    def flush_as_far_as_it_goes(descriptor: int) -> None:
        if full and Path(f"/proc/self/fd/{descriptor}").readlink().name == full[-1]:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(descriptor)

    monkeypatch.setattr("verifier.runs.journal.os.fsync", flush_as_far_as_it_goes)
    return lambda name: full.append(name and f".{Path(name).name}.unfinished")


def half_written(out: Path) -> list[str]:
    """Records that are there and are not whole, and what was left of writing them."""
    wrongs = [str(path) for path in out.rglob("*.unfinished")]
    for name, model in RECORDS.items():
        try:
            if (out / name).exists():
                read_record(out / name, model)
        except RunDirectoryError as error:
            wrongs.append(str(error))
    return wrongs


@pytest.mark.parametrize("name", ["evidence.json", *VERDICT_FILES])
def test_a_file_that_the_disk_cuts_off_is_not_there_and_is_written_later(
    pgolf, make_submission, tmp_path, full_at, name
):
    submission, out = make_submission(), tmp_path / "out"
    full_at(name)
    full = pgolf("verify", submission, "--seeds", "7", "-q")
    assert (full.exit_code, full.stdout) == (4, "")
    assert full.stderr.count("\n") == 1
    assert f"{out / name}: No space left on device; " in full.stderr
    assert not (out / name).exists() and half_written(out) == []
    seed = (out / "seed_7" / "measurement.json").read_bytes()
    full_at(None)
    if name in VERDICT_FILES:
        assert f"pgolf-verify judge {out}" in full.stderr
        assert pgolf("judge", out).exit_code == 3
    else:
        assert pgolf("judge", out).exit_code == 4
        assert pgolf("verify", submission, "--seeds", "7", "--resume").exit_code == 3
    assert (out / name).exists()
    assert (out / "seed_7" / "measurement.json").read_bytes() == seed


def test_what_was_whole_before_stays_when_the_disk_fills_up(
    pgolf, make_submission, tmp_path, full_at
):
    submission, out = make_submission(), tmp_path / "out"
    pgolf("verify", submission, "--seeds", "7")
    before = {name: (out / name).read_bytes() for name in RECORDS}
    for name in RECORDS:
        full_at(name)
        again = pgolf("verify", submission, "--seeds", "7", "--resume")
        assert again.exit_code == 4
        assert {name: (out / name).read_bytes() for name in RECORDS} == before


@pytest.fixture
def small_disk(tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow  # each place by itself is above
def test_wherever_a_disk_is_full_nothing_half_passes(pgolf, make_submission, small_disk):
    """From no page that is free to as many as all results take, by a real file system."""
    submission, out = make_submission(), small_disk / "out"
    words = ("verify", submission, "--seeds", "7", "--out", out, "-q")
    pgolf(*words)
    seed = (out / "seed_7" / "measurement.json").read_bytes()
    results = [*RECORDS, "report.txt", "report.md", "summary.md", "report.html", "report.sarif"]
    codes, num_pages = [], 0
    while codes[-1:] != [3]:
        for name in results:
            (out / name).unlink(missing_ok=True)
        with (small_disk / "ballast").open("wb") as ballast:
            free = os.statvfs(small_disk).f_bavail - num_pages
            ballast.write(b"x" * max(free, 0) * PAGE_BYTES)
        told = pgolf(*words, "--resume")
        codes.append(told.exit_code)
        (small_disk / "ballast").unlink()
        assert told.exit_code == 3 or told.stderr.count("\n") == 1, told.stderr
        assert told.exit_code in (3, 4) and half_written(out) == []
        assert (out / "seed_7" / "measurement.json").read_bytes() == seed
        num_pages += 2
    assert codes.count(4) > 3
