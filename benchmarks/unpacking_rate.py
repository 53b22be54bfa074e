"""How many of the packed scripts in public history the paper audit can read.

    python benchmarks/unpacking_rate.py --repository PATH_TO_GIT_MIRROR

Every distinct state of every Python file below `records/` in the history of all branches and
pull-request heads is read as `pgolf-verify check` reads a main script, in the folder of the commit
that brought it. A script counts as packed where it runs code that is not its own text and carries
it as a long literal without blanks or as a file of another kind, and as recovered where that code
was read. Scripts that load a file whose path only a run knows are told apart. Nothing is run.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from verifier.errors import PgolfError  # noqa: E402
from verifier.intake.submission import load_submission  # noqa: E402
from verifier.reading.program import Program, load_program  # noqa: E402

MAX_FILE_BYTES = 4 << 20  # of what stands beside a script; weights are no code
NO_CODE = (".log", ".txt", ".md")
NO_FETCH = {"PATH": os.environ["PATH"], "GIT_NO_LAZY_FETCH": "1"}
BLOB = re.compile(rb"[!-~]{1000,}")
MAY_RUN_CODE = re.compile(
    rb"(?<![.\w])(?:exec|eval)\b|runpy|builtins|marshal|CodeType|__import__|import_module"
    rb"|spec_from_file_location|SourceFileLoader"
)


def git(repository: Path, *arguments: str) -> bytes:
    """One question to the mirror; what a partial clone lacks is not fetched."""
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, capture_output=True, env=NO_FETCH).stdout


def distinct_scripts(repository: Path) -> dict[str, tuple[str, PurePosixPath]]:
    """Blob id → a commit that has it, and its path there."""
    arguments = ("--all", "--raw", "--no-abbrev", "--no-renames", "--diff-filter=AM")
    log = git(repository, "log", *arguments, "-z", "--format=%x00commit %H", "--", "records/*.py")
    scripts: dict[str, tuple[str, PurePosixPath]] = {}
    commit, blob = "", ""
    for field in filter(None, log.decode("utf-8", "replace").split("\0")):
        text = field.strip("\n")
        if text.startswith("commit "):
            commit = text.removeprefix("commit ")
        elif text.startswith(":"):
            blob = text.split()[3]
        else:
            scripts.setdefault(blob, (commit, PurePosixPath(text)))
    return scripts


def read(repository: Path, commit: str, path: PurePosixPath) -> Program | None:
    """What a script in its folder runs; None where the mirror lacks it."""
    base = PurePosixPath(*path.parts[:3])
    listing = git(repository, "ls-tree", "-r", "-l", "-z", commit, "--", f"{base}/").decode()
    with tempfile.TemporaryDirectory(prefix="unpacking_") as root:
        for entry in filter(None, listing.split("\0")):
            meta, _, name = entry.partition("\t")
            _, _, blob, size = meta.split()
            if size.isdigit() and int(size) <= MAX_FILE_BYTES and not name.endswith(NO_CODE):
                target = Path(root) / PurePosixPath(name).relative_to(base)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(git(repository, "cat-file", "blob", blob))
        try:
            submission = load_submission(Path(root))
        except PgolfError:
            return None
        own = path.relative_to(base)
        script = next((file for file in submission.scripts if file.path == own), None)
        return load_program(replace(submission, script=script)) if script else None


def is_recovered(program: Program) -> bool:
    """Whether code that the script carries packed was read."""
    return any(module.depth for module in program.modules)


def is_packed(program: Program, text: bytes) -> bool:
    """Whether it runs code that it carries as data, or may: it holds a blob."""
    unread = any(code.kind in ("packed", "needs_library") for code in program.opaque)
    return is_recovered(program) or (unread and BLOB.search(text) is not None)


def main() -> None:
    """Count, print the share and the reasons of what was not read."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repository", type=Path, required=True, help="a git mirror")
    repository = parser.parse_args().repository
    scripts = distinct_scripts(repository)
    packed, unread, others = 0, 0, Counter[str]()
    for blob, (commit, path) in scripts.items():
        text = git(repository, "cat-file", "blob", blob)
        program = read(repository, commit, path) if MAY_RUN_CODE.search(text) else None
        if program is None:
            continue
        if is_packed(program, text):
            packed += 1
            if not is_recovered(program):
                unread += 1
                print(f"not read: {commit[:10]}:{path}: {program.opaque[0].reason}")
        else:
            others.update(code.reason for code in program.opaque[:1])
    print(f"{len(scripts)} distinct Python files, {packed} packed")
    print(f"recovered: {packed - unread} of {packed} ({1 - unread / max(packed, 1):.2%})")
    print(f"{others.total()} others load or compose code that only a run knows:")
    for reason, count in others.most_common():
        print(f"{count:4} {reason}")


if __name__ == "__main__":
    main()
