"""Documents from files: JSON lines or plain text, streamed one at a time."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from trainer.errors import DataError

TEXT_SUFFIXES = (".txt", ".md")
NOT_A_WORD = re.compile(r"[\W_]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """One text and the bytes of source file that it took (for progress)."""

    text: str
    source_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """A corpus that ships with the project: documents already split, tokenizer already trained."""

    name: str
    train: Path
    val: Path
    tokenizer: Path
    manifest: Path


def shipped_corpus(name: str) -> Corpus:
    """The files of one corpus under `rules/corpora`.

    Raises:
        DataError: no corpus has that name.
    """
    folders = Path(str(files("rules") / "corpora"))
    known = sorted(path.name for path in folders.iterdir() if path.is_dir())
    if name not in known:
        raise DataError(f"--corpus {name}: no such corpus; choose from: {', '.join(known)}")
    folder = folders / name
    return Corpus(
        name=name,
        train=folder / "documents_train.jsonl",
        val=folder / "documents_val.jsonl",
        tokenizer=next(folder.glob("*.model")),
        manifest=folder / "manifest.json",
    )


def source_files(source: Path) -> list[Path]:
    """The files that a source stands for: itself, or all .jsonl, .txt and .md below a folder.

    Raises:
        DataError: there are none.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise DataError(f"{source}: no such file or folder; give a JSONL file, a text or a folder")
    wanted = (".jsonl", *TEXT_SUFFIXES)
    found = sorted(path for path in source.rglob("*") if path.suffix in wanted and path.is_file())
    if not found:
        raise DataError(f"{source}: no documents; the folder holds no .jsonl, .txt or .md file")
    return found


def read_documents(paths: list[Path]) -> Iterator[Document]:
    """All documents of some files, in order: one a JSONL line, or one a text file.

    Raises:
        DataError: a document that is empty, no UTF-8, no JSON, or has no "text".
    """
    for path in paths:
        if path.suffix != ".jsonl":
            raw = path.read_bytes()
            yield Document(text=checked_text(raw, str(path)), source_bytes=len(raw))
            continue
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                where = f"{path}:{number}"
                yield Document(text=text_of_line(line, where), source_bytes=len(line))


def text_of_line(line: bytes, where: str) -> str:
    """The "text" of one JSON line.

    Raises:
        DataError: the line is no JSON object with a usable "text".
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else "not JSON"
        raise DataError(f'{where}: {reason}; each line must be {{"text": "…"}} in UTF-8') from None
    text = record.get("text") if isinstance(record, dict) else None
    if not isinstance(text, str):
        raise DataError(f'{where}: no "text" string; each line must be {{"text": "…"}}')
    return checked_text(text.encode("utf-8", "surrogatepass"), where)


def checked_text(raw: bytes, where: str) -> str:
    """A document's text.

    Raises:
        DataError: it is empty or not UTF-8.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 at byte {error.start}; convert the file") from None
    if not text.strip():
        raise DataError(f"{where}: the document is empty; remove it")
    return text


def text_hashes(text: str) -> tuple[bytes, bytes]:
    """Two SHA-256 digests: of the exact text, and of its lower-cased letters and digits alone."""
    words = NOT_A_WORD.sub("", text.lower()) or text
    return hashlib.sha256(text.encode()).digest(), hashlib.sha256(words.encode()).digest()
