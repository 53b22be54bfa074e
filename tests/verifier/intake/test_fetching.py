"""Pull requests come from any git remote: here one in a folder, with the refs that GitHub makes."""

import subprocess
from pathlib import Path

import pytest

from verifier.errors import HarnessError, UsageError
from verifier.intake import git_tree
from verifier.intake.fetching import changed_submissions, fetch_pull_request
from verifier.intake.source_record import read_commit


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    command = ["git", "-C", str(folder), *identity, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(remote: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (remote / name).parent.mkdir(parents=True, exist_ok=True)
        (remote / name).write_text(text)
    git(remote, "add", "-A")
    git(remote, "commit", "-qm", "change")
    return git(remote, "rev-parse", "HEAD")


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    folder = tmp_path / "remote"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commit(folder, {"README.md": "base", "records/old/submission.json": "{}"})
    git(folder, "checkout", "-q", "-b", "work")
    commit(folder, {"records/new/submission.json": "{}", "records/new/train_gpt.py": "x = 1"})
    git(folder, "update-ref", "refs/pull/7/head", "work")
    git(folder, "checkout", "-q", "main")
    return folder


def test_the_folder_that_a_pull_request_adds_arrives_with_its_commit(remote, tmp_path):
    record = fetch_pull_request(7, f"file://{remote}", tmp_path / "submissions")
    folder = tmp_path / "submissions" / "7"
    assert record.path == "records/new"
    assert sorted(p.name for p in folder.iterdir()) == ["submission.json", "train_gpt.py"]
    assert read_commit(folder) == git(remote, "rev-parse", "work")


def test_a_merged_pull_request_is_still_found(remote, tmp_path):
    git(remote, "merge", "-q", "--no-ff", "-m", "merge", "work")
    assert fetch_pull_request(7, f"file://{remote}", tmp_path / "s").path == "records/new"


def test_a_pull_request_that_is_not_there_is_the_callers_mistake(remote, tmp_path):
    with pytest.raises(UsageError, match="has no pull request 9"):
        fetch_pull_request(9, f"file://{remote}", tmp_path)


def test_an_existing_folder_is_kept(remote, tmp_path):
    (tmp_path / "7").mkdir()
    with pytest.raises(UsageError, match="remove it"):
        fetch_pull_request(7, f"file://{remote}", tmp_path)


def test_two_folders_are_named_not_chosen(remote, tmp_path):
    git(remote, "checkout", "-q", "work")
    commit(remote, {"records/other/submission.json": "{}"})
    git(remote, "update-ref", "refs/pull/7/head", "work")
    git(remote, "checkout", "-q", "main")
    with pytest.raises(UsageError, match="2 submission folders: records/new, records/other"):
        fetch_pull_request(7, f"file://{remote}", tmp_path / "s")


def test_one_of_several_folders_is_brought_when_it_is_named(remote, tmp_path):
    git(remote, "checkout", "-q", "work")
    commit(remote, {"records/other/submission.json": "{}"})
    git(remote, "update-ref", "refs/pull/7/head", "work")
    git(remote, "checkout", "-q", "main")
    url = f"file://{remote}"
    assert fetch_pull_request(7, url, tmp_path / "s", "records/other/").path == "records/other"
    with pytest.raises(UsageError, match="changes others: records/new, records/other"):
        fetch_pull_request(7, url, tmp_path / "t", "records/old")


def test_a_track_is_never_fetched_as_one_submission(remote, tmp_path):
    git(remote, "checkout", "-q", "-b", "loose", "main")
    commit(remote, {"records/track_demo/submission.json": "{}"})
    git(remote, "update-ref", "refs/pull/8/head", "loose")
    git(remote, "checkout", "-q", "main")
    with pytest.raises(UsageError, match="need a folder of their own"):
        fetch_pull_request(8, f"file://{remote}", tmp_path / "s")


def test_what_a_killed_fetch_left_is_no_part_of_the_next(remote, tmp_path):
    (tmp_path / ".7.partial").mkdir()
    (tmp_path / ".7.partial" / "train_gpt_v2.py").write_text("stale")
    fetch_pull_request(7, f"file://{remote}", tmp_path)
    assert not (tmp_path / "7" / "train_gpt_v2.py").exists()


def test_changes_are_seen_from_within_a_folder_too(remote):
    changed = {"submissions/mine/train_gpt.py": "", "records/t/mine/submission.json": "{}"}
    for name, text in changed.items():
        (remote / name).parent.mkdir(parents=True)
        (remote / name).write_text(text)
    assert changed_submissions(remote, "HEAD") == ("records/t/mine", "submissions/mine")
    within = changed_submissions(remote / "records", "HEAD")
    assert within == ("t/mine", "../submissions/mine")


@pytest.mark.parametrize("evasion", ["link", "repository", "script"])
def test_what_no_check_would_see_is_no_absence_of_changes(remote, evasion):
    place = remote / "records/t"
    place.mkdir()
    if evasion == "link":
        (place / "mine").symlink_to(remote / "records/old")
    elif evasion == "repository":
        git(place, "init", "-q", "mine")
        commit(place / "mine", {"train_gpt.py": ""})
    else:
        (place / "train_gpt.py").write_text("")
    with pytest.raises(UsageError, match="nothing checks it; a submission is a folder, records/"):
        changed_submissions(remote, "HEAD")


def test_a_folder_that_is_shaped_as_a_repository_configures_nothing(remote, tmp_path):
    folder = remote / "submissions/mine"
    git(remote, "clone", "-q", "--bare", str(remote), str(folder))
    for name, value in {"bare": "false", "worktree": str(remote)}.items():
        git(folder, "config", "-f", "config", f"core.{name}", value)
    git(folder, "config", "-f", "config", "core.fsmonitor", f"touch {tmp_path}/pwned")
    with pytest.raises(HarnessError, match="bare"):
        changed_submissions(folder, "HEAD")
    assert not (tmp_path / "pwned").exists()


def test_a_page_beside_the_submissions_is_no_submission(remote):
    (remote / "records/t").mkdir()
    (remote / "records/t/README.md").write_text("")
    assert changed_submissions(remote, "HEAD") == ()


def test_a_revision_that_was_not_fetched_is_named(remote):
    with pytest.raises(HarnessError, match="origin/main: no such revision here; fetch it"):
        changed_submissions(remote, "origin/main")


def test_a_damaged_note_of_the_commit_is_named(tmp_path):
    (tmp_path / "7.source.json").write_text('{"commit": ')
    with pytest.raises(HarnessError, match="not what fetch wrote"):
        read_commit(tmp_path / "7")


def test_what_arrives_is_what_was_committed_whatever_its_attributes_say(remote, tmp_path):
    git(remote, "checkout", "-q", "work")
    written = {"hidden.py": "cheat()\n", "train_gpt.py": "# $Id$ $Format:%H$\nx = 1\n"}
    commit(remote, {f"records/new/{name}": text for name, text in written.items()})
    rules = "hidden.py export-ignore\n*.py export-subst ident eol=crlf\n"
    commit(remote, {"records/new/.gitattributes": rules})
    git(remote, "update-ref", "refs/pull/7/head", "work")
    git(remote, "checkout", "-q", "main")
    fetch_pull_request(7, f"file://{remote}", tmp_path)
    for name, text in written.items():
        assert (tmp_path / "7" / name).read_bytes() == text.encode()


def test_a_folder_that_is_larger_than_it_looks_is_not_unpacked(remote, tmp_path, monkeypatch):
    monkeypatch.setattr(git_tree, "MAX_BYTES", 1_000_000)
    git(remote, "checkout", "-q", "work")
    commit(remote, {"records/new/zeros.txt": "0" * 1_000_000})
    git(remote, "update-ref", "refs/pull/7/head", "work")
    git(remote, "checkout", "-q", "main")
    with pytest.raises(UsageError, match="1,000,007 bytes in 3 files; a submission is far"):
        fetch_pull_request(7, f"file://{remote}", tmp_path)
    assert not (tmp_path / "7").exists()


def test_a_link_out_of_the_folder_is_refused(remote, tmp_path):
    git(remote, "checkout", "-q", "work")
    (remote / "records/new/passwd").symlink_to("/etc/passwd")
    git(remote, "add", "-A")
    git(remote, "commit", "-qm", "link")
    git(remote, "update-ref", "refs/pull/7/head", "work")
    git(remote, "checkout", "-q", "main")
    with pytest.raises(UsageError, match="leads to '/etc/passwd', out of the folder"):
        fetch_pull_request(7, f"file://{remote}", tmp_path / "s")
    assert list(tmp_path.glob("s/*")) == list(tmp_path.glob("s/.*")) == []


def test_what_git_says_is_quoted(tmp_path):
    with pytest.raises(HarnessError, match="git fetch failed: fatal:"):
        fetch_pull_request(8, "/nowhere", tmp_path / "s")
