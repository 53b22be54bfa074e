"""Bring a pull request's submission folder with git. Its files are data: nothing in it is run."""

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from verifier.errors import HarnessError, UsageError
from verifier.intake.source_record import SourceRecord, source_file

GIT_SECONDS = 600
NOBODYS_CONFIGURATION = ("-c", "safe.bareRepository=explicit", "-c", "core.fsmonitor=false")
"""A submission's folder can be shaped as a repository, whose configuration names programs."""
MAX_BYTES = 1 << 30
MAX_FILES = 10_000
AS_COMMITTED = "** -text -eol -ident -filter -working-tree-encoding -export-ignore -export-subst\n"
"""Overrules a pull request's own .gitattributes, which can hide files and rewrite others."""
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
        _git(repository, "init", "--quiet")
        head, base = f"refs/pull/{number}/head", "HEAD"
        try:
            _git(repository, "fetch", "--quiet", f"--depth={DEPTH}", remote, f"{head}:refs/head")
        except HarnessError as error:
            if "couldn't find remote ref" not in str(error):
                raise
            raise UsageError(f"{remote}: has no pull request {number}") from None
        _git(repository, "fetch", "--quiet", "--depth=1", remote, f"{base}:refs/base")
        commit = _git(repository, "rev-parse", "refs/head").decode().strip()
        path = _chosen(_submission_folders(repository), number, folder)
        _refuse_huge(repository, f"refs/head:{path}")
        (repository / ".git/info").mkdir(exist_ok=True)
        (repository / ".git/info/attributes").write_text(AS_COMMITTED)
        archive = _git(repository, "archive", "--format=tar", f"refs/head:{path}")
    _unpack(archive, target)
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
    _git(repository, "rev-parse")
    try:
        words = ("--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}")
        commit = _git(repository, "rev-parse", *words)
    except HarnessError as error:
        raise HarnessError(f"--changed {base}: no such revision here; fetch it first") from error
    changed = _git(repository, "diff", "--name-only", "-z", commit.decode().strip(), "--")
    top = Path(os.fsdecode(_git(repository, "rev-parse", "--show-toplevel")).rstrip("\n"))
    added = _git(top, "ls-files", "--others", "--exclude-standard", "-z")
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
    folders = _folders(_git(repository, "diff", *names, "refs/base", "refs/head"))
    for skip in range(DEPTH if not folders else 0):
        last = ("log", "-1", f"--skip={skip}", "--first-parent", "--format=", *names, "refs/head")
        folders = folders or _folders(_git(repository, *last))
    return folders


def _folders(changed: bytes) -> list[str]:
    """Folders of changed submission.json files, else of changed training scripts."""
    paths = [PurePosixPath(p) for p in changed.decode("utf-8", "replace").split("\0") if p]
    stated = {str(p.parent) for p in paths if p.name.startswith(METADATA_NAME)}
    scripts = {str(p.parent) for p in paths if p.suffix == ".py" and p.name.startswith("train")}
    return sorted((stated or scripts) - {"."})


def _refuse_huge(repository: Path, tree: str) -> None:
    """Before it is unpacked, because a push of a few kilobytes can hold gigabytes of zeros.

    Raises:
        UsageError: the folder is larger than any submission.
    """
    listed = _git(repository, "ls-tree", "-r", "-l", "-z", tree).split(b"\0")[:-1]
    sizes = [line.split(maxsplit=4)[3] for line in listed]  # mode, type, hash, size, name
    num_bytes = sum(int(size) for size in sizes if size.isdigit())  # a submodule's is "-"
    if num_bytes > MAX_BYTES or len(sizes) > MAX_FILES:
        raise UsageError(
            f"the folder holds {num_bytes:,} bytes in {len(sizes):,} files; a submission is far "
            "smaller"
        )


def _unpack(archive: bytes, target: Path) -> None:
    """Extract into a neighbour, then rename: no half folder is left behind."""
    neighbour = target.with_name(f".{target.name}.partial")
    shutil.rmtree(neighbour, ignore_errors=True)  # of a fetch that was killed
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            # Refuses absolute paths, devices, and links that leave the folder.
            tar.extractall(neighbour, filter="data")
        neighbour.rename(target)
    except (tarfile.FilterError, OSError) as error:
        shutil.rmtree(neighbour, ignore_errors=True)
        if isinstance(error, OSError):
            raise HarnessError(f"{target}: {error.strerror}; give another --into") from error
        raise UsageError(f"not unpacked: {error}") from error


def _git(repository: Path, *arguments: str) -> bytes:
    """Run git with no configuration, no prompt and no hook of anybody's."""
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "HOME": str(repository),
    }
    try:
        result = subprocess.run(
            ["git", "-C", str(repository), *NOBODYS_CONFIGURATION, *arguments],
            capture_output=True,
            timeout=GIT_SECONDS,
            env=environment,
        )
    except FileNotFoundError:
        raise HarnessError("git is missing: install it (apt-get install git)") from None
    except subprocess.TimeoutExpired:
        raise HarnessError(f"git {arguments[0]} took over {GIT_SECONDS} s; try again") from None
    if result.returncode != 0:
        said = result.stderr.decode("utf-8", "replace").strip().splitlines()
        fatal = [line for line in said if line.startswith("fatal:")] or said or ["no reason given"]
        mend = "; run this as its owner, or chown it" if "dubious ownership" in fatal[0] else ""
        raise HarnessError(f"git {arguments[0]} failed: {fatal[0]}{mend}")
    return result.stdout
