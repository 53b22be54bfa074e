"""A folder, or one script, that somebody hands in → Submission. Nothing in it is ever run.

The input is hostile: walks and reads are bounded (bounded_files.py), links are not followed,
foreign text is decoded with replacement and kept raw. Whoever prints it must escape it.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import islice
from pathlib import Path, PurePosixPath

from verifier.errors import SubmissionUnreadableError
from verifier.intake.bounded_files import BoundedContent, FolderEntry, read_bounded, walk_folder
from verifier.schemas.foreign_json import read_json
from verifier.schemas.pgolf_yaml import read_contract
from verifier.schemas.submission_json import Metadata, read_metadata

MAX_FILES = 2_000
MAX_DEPTH = 8
MAX_LOG_DEPTH = 4  # train.log, logs/train0.txt, runs/a/train.log, runs/seed_1/a/train.log
MAX_TOTAL_BYTES = 2 << 30
MAX_KEPT_BYTES = 64 << 20  # text held in memory, over all files
WINDOW_BYTES = 2 << 20  # of a longer text, so much of its head and of its tail is kept

_LOG_LINE = re.compile(
    r"^(?:\d{9,11}\.\d+ )?(?:(?:step:)?\d{1,12}/\d{1,12} .{0,40}loss|seed: ?\d|\w+ val_loss:\d)",
    re.MULTILINE,
)
# Scores in a script's own words; a note has one or two of them, a log goes on.
_SCORE_LINE = re.compile(r"^[^\n]{0,80}?(?:bpb|BPB)[ \w()]{0,20}[:=] {0,12}\d\.\d{3}", re.MULTILINE)
_FEWEST_SCORES = 5
_TOKENIZER_SUFFIXES = (".model", ".vocab")
_LOG_SUFFIXES = (".log", ".txt", ".out")


class FileKind(StrEnum):
    """What a file of a submission is for."""

    SCRIPT = "script"
    LOG = "log"
    README = "readme"
    METADATA = "metadata"
    CONTRACT = "contract"
    TOKENIZER = "tokenizer"
    REQUIREMENTS = "requirements"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadProblem:
    """Something in the folder that could not be read as it should; never fatal by itself."""

    path: PurePosixPath
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionFile:
    """One regular file; `text` is None for what is not text, or not ours to read."""

    path: PurePosixPath  # below the root; bytes that are not UTF-8 stand as \\xNN
    num_bytes: int
    sha256: str
    kind: FileKind
    text: str | None = field(default=None, repr=False)
    lines_cut: int = 0  # left out of `text` after line `cut_after_line`
    cut_after_line: int = 0
    duplicate_of: PurePosixPath | None = None  # the first file with these very bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """The loaded folder, untouched. What it says of itself is a claim."""

    name: str
    root: Path
    files: tuple[SubmissionFile, ...]
    sha256: str  # over sorted (path, hash): independent of the folder's name and place
    problems: tuple[ReadProblem, ...] = ()
    metadata: Metadata | None = None
    contract: Mapping[str, object] | None = None  # pgolf.yaml
    script: SubmissionFile | None = None  # the one that trains and evaluates

    def of_kind(self, kind: FileKind) -> tuple[SubmissionFile, ...]:
        """The files of a kind, in the order of their paths."""
        return tuple(file for file in self.files if file.kind is kind)

    @property
    def scripts(self) -> tuple[SubmissionFile, ...]:
        return self.of_kind(FileKind.SCRIPT)

    @property
    def logs(self) -> tuple[SubmissionFile, ...]:
        return self.of_kind(FileKind.LOG)

    @property
    def readme_text(self) -> str | None:
        readmes = sorted(self.of_kind(FileKind.README), key=_nearest_first)
        return readmes[0].text if readmes else None


def load_submission(path: Path) -> Submission:
    """Read a submission folder, or a single script, within fixed limits.

    Raises:
        SubmissionUnreadableError: there is nothing there, nothing in it, too much of it, or it
            is a folder of submissions.
    """
    if not path.exists():
        raise SubmissionUnreadableError(f"{path}: no such file or folder")
    if not path.is_dir() and path.suffix != ".py":
        raise SubmissionUnreadableError(f"{path}: neither a folder nor a training script (.py)")
    root = _innermost(path.resolve()) if path.is_dir() else path.resolve().parent
    loader = _Loader()
    entries: Iterable[FolderEntry] = walk_folder(root, MAX_DEPTH, MAX_FILES)
    if not path.is_dir():
        entries = [FolderEntry(parts=(path.name,), location=path.resolve())]
    try:
        for entry in entries:
            loader.read(entry)
    except OverflowError as error:
        raise SubmissionUnreadableError(
            f"{path}: {error}; leave out data and checkpoints"
        ) from None
    except PermissionError as error:  # git keeps no such modes, so they are this machine's
        raise SubmissionUnreadableError(
            f"{error.filename}: {error.strerror}; get the right to read all of the submission"
        ) from None
    files = _mark_duplicates(loader.files)
    _refuse_what_is_no_submission(path, files)
    return Submission(
        name=str(_printable_path((path.resolve().name if path.is_dir() else path.stem,))),
        root=root,
        files=files,
        sha256=_tree_hash(files),
        metadata=loader.metadata(files),
        contract=loader.contract(files),
        script=_main_script(files),
        problems=tuple(loader.problems),
    )


def _innermost(folder: Path) -> Path:
    """The folder below which there is more than one other: of records/TRACK/NAME alone, NAME."""
    for _ in range(MAX_DEPTH):
        if not os.access(folder, os.R_OK | os.X_OK):  # whoever walks it says so
            break
        entries = list(islice(os.scandir(folder), 2))
        if len(entries) != 1 or not entries[0].is_dir(follow_symlinks=False):
            break
        folder = Path(entries[0].path)
    return folder


class _Loader:
    """Reads entries one by one against the limits of the whole folder."""

    def __init__(self) -> None:
        self.files: list[SubmissionFile] = []
        self.problems: list[ReadProblem] = []
        self._bytes_left = MAX_TOTAL_BYTES
        self._kept_bytes_left = MAX_KEPT_BYTES

    def read(self, entry: FolderEntry) -> None:
        """Add one entry.

        Raises:
            OverflowError: the folder is larger than all of a submission may be.
            PermissionError: the file is closed to us.
        """
        path = _printable_path(entry.parts)
        if entry.refusal is not None:
            self._note(path, entry.refusal)
            return
        try:
            content = read_bounded(entry.location, WINDOW_BYTES, self._bytes_left)
        except PermissionError:
            raise
        except OverflowError:
            raise OverflowError(f"holds more than {MAX_TOTAL_BYTES:,} bytes") from None
        except OSError as error:
            self._note(path, f"cannot be read: {error.strerror}")
            return
        self._bytes_left -= content.num_bytes
        self.files.append(self._submission_file(path, content))

    def _submission_file(self, path: PurePosixPath, content: BoundedContent) -> SubmissionFile:
        text = _decoded(content)
        file = SubmissionFile(
            path=path,
            num_bytes=content.num_bytes,
            sha256=content.sha256,
            kind=_kind(path, text),
        )
        if file.kind in (FileKind.TOKENIZER, FileKind.OTHER):
            return file
        if text is None:
            self._note(path, "is binary; not read as text")
            return file
        if len(text) > self._kept_bytes_left:
            self._note(path, f"not read: the texts hold more than {MAX_KEPT_BYTES} bytes")
            return file
        self._kept_bytes_left -= len(text)
        if not content.is_cut:
            return replace(file, text=text)
        window = f"its first {2 * WINDOW_BYTES} and last {WINDOW_BYTES} bytes"
        self._note(path, f"is {content.num_bytes} bytes long; only {window} were read")
        cut_after_line = content.head.count(b"\n")
        return replace(file, text=text, lines_cut=content.lines_cut, cut_after_line=cut_after_line)

    def metadata(self, files: Iterable[SubmissionFile]) -> Metadata | None:
        """The claims of the submission.json nearest to the root, or of its odd-named sibling."""
        candidates = [file for file in files if file.kind is FileKind.METADATA]
        for file in sorted(candidates, key=_nearest_first):
            if file.text is None:
                continue
            reading = read_json(file.text)
            for problem in reading.problems:
                self._note(file.path, problem)
            if reading.value is None:
                continue
            if not isinstance(reading.value, Mapping):
                self._note(file.path, "holds no JSON object")
            metadata = read_metadata(reading.value)
            for key in metadata.unreadable:
                self._note(file.path, f"says nothing readable under {key[:120]!r}")
            return metadata
        return None

    def contract(self, files: Iterable[SubmissionFile]) -> Mapping[str, object] | None:
        """What pgolf.yaml says; None where there is none, or it cannot be read."""
        for file in files:
            if file.kind is not FileKind.CONTRACT or file.text is None:
                continue
            contract = read_contract(file.text)
            if contract is None:
                self._note(file.path, "is no YAML mapping that we read; the contract is ignored")
            return contract
        return None

    def _note(self, path: PurePosixPath, message: str) -> None:
        self.problems.append(ReadProblem(path=path, message=message))


def _printable_path(parts: tuple[str, ...]) -> PurePosixPath:
    return PurePosixPath(*(os.fsencode(part).decode("utf-8", "backslashreplace") for part in parts))


def _decoded(content: BoundedContent) -> str | None:
    """Head and tail as text, None for binary data; a Windows shell's UTF-16 is text too."""
    window = content.head
    if content.is_cut:
        window = content.head[: content.head.rfind(b"\n") + 1] + content.tail
    if window.startswith((b"\xff\xfe", b"\xfe\xff")):
        return window.decode("utf-16", "replace")
    if b"\0" in window:
        return None
    return window.decode("utf-8-sig", "replace")


def kind_by_name(path: PurePosixPath) -> FileKind:
    """What a file that was not read would be."""
    return _kind(path, None)


def _kind(path: PurePosixPath, text: str | None) -> FileKind:
    name, suffix = path.name.lower(), path.suffix.lower()
    if suffix == ".py":
        return FileKind.SCRIPT
    if name.startswith("submission") and suffix == ".json":
        return FileKind.METADATA
    if path == PurePosixPath("pgolf.yaml"):
        return FileKind.CONTRACT
    if "readme" in name and suffix in (".md", ".txt", ".rst", ""):
        return FileKind.README
    if name.startswith("requirements") and suffix == ".txt":
        return FileKind.REQUIREMENTS
    if suffix in _TOKENIZER_SUFFIXES:
        return FileKind.TOKENIZER
    return FileKind.LOG if _is_log(path, text) else FileKind.OTHER


def _is_log(path: PurePosixPath, text: str | None) -> bool:
    """A `.log` or `logs.txt` is one by name; another text file is one if it has a log's lines."""
    if path.suffix.lower() not in _LOG_SUFFIXES or len(path.parts) > MAX_LOG_DEPTH:
        return False
    if path.suffix.lower() == ".log" or path.stem.lower() in ("log", "logs", "train_log"):
        return True
    if text is None or _LOG_LINE.search(text) is not None:
        return text is not None
    return len(list(islice(_SCORE_LINE.finditer(text), _FEWEST_SCORES))) == _FEWEST_SCORES


def _nearest_first(file: SubmissionFile) -> tuple[int, int, str]:
    """Files near the root first, then the shorter (plainer) name."""
    return len(file.path.parts), len(file.path.name), str(file.path)


def _mark_duplicates(files: Iterable[SubmissionFile]) -> tuple[SubmissionFile, ...]:
    first: dict[str, PurePosixPath] = {}
    marked = []
    for file in sorted(files, key=lambda file: str(file.path)):
        original = first.setdefault(file.sha256, file.path)
        is_copy = original != file.path and file.num_bytes > 0
        marked.append(replace(file, duplicate_of=original) if is_copy else file)
    return tuple(marked)


def _tree_hash(files: Iterable[SubmissionFile]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(os.fsencode(str(file.path)) + b"\0" + bytes.fromhex(file.sha256))
    return digest.hexdigest()


def _main_script(files: Iterable[SubmissionFile]) -> SubmissionFile | None:
    """The script that trains: by name, then by what it computes, then the plainest name."""
    ranked = []
    for file in files:
        rank = _script_rank(file)
        if rank is not None:
            ranked.append((rank, *_nearest_first(file), file))
    return min(ranked, key=lambda entry: entry[:4])[-1] if ranked else None


def _script_rank(file: SubmissionFile) -> int | None:
    """0 for the name that the challenge asks for; None for a helper."""
    if file.kind is not FileKind.SCRIPT:
        return None
    computes_the_score = "val_bpb" in (file.text or "")
    if file.path.name == "train_gpt.py":
        return 0
    if file.path.name.startswith("train_gpt"):
        return 1
    if file.path.name.startswith("train"):
        return 2 if computes_the_score else 3
    return 4 if computes_the_score else None


def _refuse_what_is_no_submission(path: Path, files: tuple[SubmissionFile, ...]) -> None:
    if not files:
        raise SubmissionUnreadableError(f"{path}: holds no file that can be read")
    kinds = (FileKind.SCRIPT, FileKind.METADATA, FileKind.LOG)
    folders = sorted({file.path.parent for file in files if file.kind in kinds})
    if len(folders) > 1 and PurePosixPath() not in folders:
        names = ", ".join(str(folder) for folder in folders[:3])
        raise SubmissionUnreadableError(
            f"{path}: a folder of {len(folders)} submissions; give one of them ({names}, …)"
        )
