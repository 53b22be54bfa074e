"""Feed hostile bytes to everything that reads a stranger's folder; coverage leads the way.

Run by hand, in an environment that holds the project and atheris (no dependency of the project):

    python benchmarks/fuzz_readers.py folder /tmp/corpus -runs=50000 -timeout=2 -rss_limit_mb=1024

Targets: folder (all of `pgolf-verify check`), metadata, contract, log, commands, python, unpack,
data_flow. The corpus starts with the files of the rules' test cases. Any exception ends the run,
also one that the check itself survives by saying that it cannot tell; libFuzzer keeps the input.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import atheris

with atheris.instrument_imports(include=["verifier"]):
    from verifier.claims.run_command import find_run_commands
    from verifier.claims.training_log import read_training_log
    from verifier.data_flow import follow_run
    from verifier.data_flow.settings import Settings
    from verifier.intake.submission import load_submission
    from verifier.pipeline import check
    from verifier.reading.literal_files import Files
    from verifier.reading.program import load_program
    from verifier.reading.python_source import parse_python
    from verifier.reading.unpacking import unpack
    from verifier.reports.markdown import render_markdown
    from verifier.reports.verdict_file import render_json
    from verifier.schemas.foreign_json import read_json
    from verifier.schemas.pgolf_yaml import read_contract
    from verifier.schemas.submission_json import read_metadata
from verifier.errors import SubmissionUnreadableError
from verifier.rulebook import load_rulebook

CASES = Path(__file__).parents[1] / "tests" / "verifier" / "rule_cases"
SEPARATOR = b"\n\0\n"  # between the files of a folder; no text of ours holds it
NAMES = ("train_gpt.py", "submission.json", "README.md", "train_seed42.log", "pgolf.yaml")
OWN_FAILURES = ("the check failed", "following the script failed")
FOLDER = Path(tempfile.mkdtemp(prefix="fuzz"))
RULEBOOK = load_rulebook()


def fuzz_folder(content: bytes) -> None:
    """Files of the usual names in this order; what follows is one with an odd name."""
    folder = write_folder(content)
    try:
        verdict = check(folder, RULEBOOK, "readme-strict", None)
    except SubmissionUnreadableError:
        return
    render_json(verdict)
    render_markdown(verdict)
    for rule in verdict.rules:
        assert not (rule.reason or "").startswith(OWN_FAILURES), (rule.rule, rule.reason)


def write_folder(content: bytes) -> Path:
    folder = FOLDER / "submission"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    parts = content.split(SEPARATOR, len(NAMES))
    for name, part in zip(NAMES, parts, strict=False):
        (folder / name).write_bytes(part)
    if len(parts) > len(NAMES):
        odd_name, _, part = parts[-1].partition(b"\n")
        name = os.fsdecode(odd_name[:200].replace(b"/", b"_").replace(b"\0", b"_"))
        if name not in ("", ".", ".."):
            (folder / name).write_bytes(part)
    return folder


def fuzz_metadata(content: bytes) -> None:
    value = read_json(as_text(content)).value
    if value is not None:
        read_metadata(value)


def fuzz_python(content: bytes) -> None:
    try:
        parse_python(as_text(content))
    except SyntaxError:
        return


def fuzz_unpack(content: bytes) -> None:
    try:
        tree = parse_python(as_text(content))
    except SyntaxError:
        return
    unpack(tree, PurePosixPath("train_gpt.py"), Files(read=lambda path: b"print(1)"))


def fuzz_data_flow(content: bytes) -> None:
    program = load_program(load_submission(write_folder(content.replace(SEPARATOR, b""))))
    trace = follow_run(program, Settings())
    assert not (trace.stopped or "").startswith(OWN_FAILURES), trace.stopped


def as_text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


TARGETS: dict[str, tuple[Callable[[bytes], None], str]] = {
    "folder": (fuzz_folder, "*"),
    "metadata": (fuzz_metadata, "submission.json"),
    "contract": (lambda content: void(read_contract(as_text(content))), "*.json"),
    "log": (lambda content: void(read_training_log(as_text(content))), "*.log"),
    "commands": (lambda content: void(find_run_commands(as_text(content))), "README.md"),
    "python": (fuzz_python, "*.py"),
    "unpack": (fuzz_unpack, "*.py"),
    "data_flow": (fuzz_data_flow, "*.py"),
}


def void(_: object) -> None:
    """A target returns nothing."""


def write_seeds(corpus: Path, pattern: str) -> None:
    """One input a file of the test cases, or one a folder of theirs."""
    corpus.mkdir(parents=True, exist_ok=True)
    paths = sorted(CASES.rglob(pattern))
    if pattern == "*":
        paths = sorted(path.parent for path in CASES.rglob("train_gpt.py"))
    assert paths, f"no test case matches {pattern}"
    for number, path in enumerate(paths):
        files = [path / name for name in NAMES] if path.is_dir() else [path]
        parts = [file.read_bytes() if file.is_file() else b"" for file in files]
        (corpus / f"seed_{number}").write_bytes(SEPARATOR.join(parts))


def main() -> None:
    if len(sys.argv) < 3 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: fuzz_readers.py {{{','.join(TARGETS)}}} CORPUS [libFuzzer options]")
    target, pattern = TARGETS[sys.argv[1]]
    write_seeds(Path(sys.argv[2]), pattern)
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
