"""Bring a pull request's submission folder with git. Its files are data: nothing in it is run."""

import os
import tempfile
from pathlib import Path, PurePosixPath

from verifier.errors import HarnessError, UsageError
from verifier.intake.git import run_git
from verifier.intake.git_tree import write_tree
from verifier.intake.source_record import SourceRecord, source_file

METADATA_NAME = "submission"
SUBMISSION_DEPTHS = {"records": 3, "submissions": 2}
"""How many parts the path of a submission has, by its first: the public layout, and ours."""
SUBMISSION_PLACES = {"records": "records/<track>/<name>/", "submissions": "submissions/<name>/"}
DEPTH = 30
"""Commits of the pull request that are brought: enough to find what it added before its merge."""


def fetch_pull_request(
    number: int, remote: str, into: Path, folder: str | None = None
) -> SourceRecord:
    """Put the folder that a pull request adds into `into/<number>`.

    Args:
        number: the pull request.
        remote: any git remote, by URL or path.
        into: the folder of submissions.
        folder: the one that is meant, by its path in the repository; else there must be only one.

    Raises:
        UsageError: the folder exists, or there is no such pull request, or it adds no submission
            folder, or several.
        HarnessError: git failed, its last line is quoted; or the disk did.
    """
    target = into / str(number)
    if target.exists():
        raise UsageError(f"{target}: exists; remove it to fetch the pull request anew")
    with tempfile.TemporaryDirectory(prefix="pgolf-fetch-") as scratch:
        repository = Path(scratch)
        run_git(repository, "init", "--quiet")
        head, base = f"refs/pull/{number}/head", "HEAD"
        try:
            run_git(repository, "fetch", "--quiet", f"--depth={DEPTH}", remote, f"{head}:refs/head")
        except HarnessError as error:
            if "couldn't find remote ref" not in str(error):
                raise
            raise UsageError(f"{remote}: has no pull request {number}") from None
        run_git(repository, "fetch", "--quiet", "--depth=1", remote, f"{base}:refs/base")
        commit = run_git(repository, "rev-parse", "refs/head").decode().strip()
        path = _chosen(_submission_folders(repository), number, folder)
        write_tree(repository, f"refs/head:{path}", target)
    record = SourceRecord(remote=remote, ref=head, commit=commit, path=path)
    source_file(target).write_text(record.model_dump_json(indent=2) + "\n")
    return record


def changed_submissions(repository: Path, base: str) -> tuple[str, ...]:
    """The submission folders of a work tree in which a file differs from a revision.

    They are the folders below `records/<track>/` and below `submissions/`; one that is gone is
    left out.

    Args:
        repository: a folder of a git work tree, to which the answers are relative; all of the
            work tree is looked at.
        base: any revision, such as `origin/main` or `HEAD^1`.

    Raises:
        UsageError: what changed there is such that no folder's check would see it.
        HarnessError: git failed, or there is no such revision.
    """
    run_git(repository, "rev-parse")
    try:
        words = ("--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}")
        commit = run_git(repository, "rev-parse", *words)
    except HarnessError as error:
        raise HarnessError(f"--changed {base}: no such revision here; fetch it first") from error
    changed = run_git(repository, "diff", "--name-only", "-z", commit.decode().strip(), "--")
    top = Path(os.fsdecode(run_git(repository, "rev-parse", "--show-toplevel")).rstrip("\n"))
    added = run_git(top, "ls-files", "--others", "--exclude-standard", "-z")
    folders = set()
    for name in os.fsdecode(changed + added).split("\0"):
        parts = PurePosixPath(name).parts
        depth = SUBMISSION_DEPTHS.get(parts[0] if parts else "", len(parts))
        if len(parts) > depth:
            folders.add("/".join(parts[:depth]))
        elif parts and parts[0] in SUBMISSION_DEPTHS and _evades(top / name):
            raise UsageError(
                f"{name}: a link, a repository of its own or a loose file, so nothing checks it; "
                f"a submission is a folder, {SUBMISSION_PLACES[parts[0]]}"
            )
    there = sorted(folder for folder in folders if (top / folder).is_dir())
    return tuple(os.path.relpath(top / folder, repository) for folder in there)


def _evades(path: Path) -> bool:
    """Whether it can bring code although it is no file within a submission's folder."""
    is_code = path.suffix == ".py" or path.name.startswith(METADATA_NAME)
    return path.is_symlink() or path.is_dir() or (is_code and path.is_file())


def _chosen(folders: list[str], number: int, asked: str | None) -> str:
    """The folder that is asked for, or the only one.

    Raises:
        UsageError: it is not among them, or there are none, or several, or it is a whole track.
    """
    found = ", ".join(folders[:5]) or "none"
    if asked is not None and asked.strip("/") not in folders:
        raise UsageError(f"--folder {asked}: pull request {number} changes others: {found}")
    if asked is None and len(folders) != 1:
        hint = "; name one with --folder" if folders else ""
        raise UsageError(
            f"pull request {number} changes {len(folders)} submission folders: {found}{hint}"
        )
    path = asked.strip("/") if asked is not None else folders[0]
    if PurePosixPath(path).name.startswith("track_"):
        raise UsageError(
            f"pull request {number} puts its files into {path}, which holds every record; "
            "they need a folder of their own"
        )
    return path


def _submission_folders(repository: Path) -> list[str]:
    """The folders with a changed submission.json or training script.

    Changed against the base branch, or, once the pull request is merged, in its own last commits.
    """
    names = ("--name-only", "-z", "--diff-filter=AM")
    folders = _folders(run_git(repository, "diff", *names, "refs/base", "refs/head"))
    for skip in range(DEPTH if not folders else 0):
        last = ("log", "-1", f"--skip={skip}", "--first-parent", "--format=", *names, "refs/head")
        folders = folders or _folders(run_git(repository, *last))
    return folders


def _folders(changed: bytes) -> list[str]:
    """Folders of changed submission.json files, else of changed training scripts."""
    paths = [PurePosixPath(p) for p in changed.decode("utf-8", "replace").split("\0") if p]
    stated = {str(p.parent) for p in paths if p.name.startswith(METADATA_NAME)}
    scripts = {str(p.parent) for p in paths if p.suffix == ".py" and p.name.startswith("train")}
    return sorted((stated or scripts) - {"."})
