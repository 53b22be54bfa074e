"""Documents that a reviewer brings, as tokens, with the bytes of their raw text."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from verifier.errors import DataError, UsageError
from verifier.probe.variants import Tokens
from verifier.track_data import HEADER_BYTES, count_tokens, file_sha256

MAX_TEXT_BYTES = 2**26
"""Of a file of raw documents that are read; enough for ten times what is compared."""
MAX_DOCUMENT_TOKENS = 1_024
"""Many beginnings tell more than few whole documents: what differs most is documents."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """One document behind its start token."""

    tokens: Tokens  # (n + 1,), the first one is the start
    num_bytes: int | None = None
    """Of its raw text, or of what its tokens spell; None before anyone spelled them."""
    is_retold: bool = False
    """Whether its tokens spell something else than its raw text."""

    def __len__(self) -> int:
        return len(self.tokens)

    def cut(self) -> "Document":
        """Its beginning, if it is long; the bytes are then those that its tokens spell."""
        if len(self) <= MAX_DOCUMENT_TOKENS:
            return self
        return replace(self, tokens=self.tokens[:MAX_DOCUMENT_TOKENS], num_bytes=None)


class Speller:
    """Text to tokens and back, by the track's tokenizer."""

    def __init__(self, model: Path) -> None:
        """Load a SentencePiece model.

        Raises:
            UsageError: sentencepiece is not installed.
            DataError: it is no such model.
        """
        try:
            from sentencepiece import SentencePieceProcessor
        except ImportError:
            raise UsageError(
                "--fresh: reads documents with sentencepiece; pip install 'pgolf[trainer]'"
            ) from None
        try:
            self._processor = SentencePieceProcessor(model_file=str(model))
        except (RuntimeError, OSError) as error:
            raise DataError(f"{model}: no SentencePiece model, so --fresh cannot spell") from error

    def from_text(self, text: str, start: int) -> Document:
        tokens = self._processor.encode(text)
        return Document(
            tokens=np.array([start, *tokens], dtype=np.uint16),
            num_bytes=len(text.encode()),
            is_retold=self._processor.decode(tokens) != text,
        )

    def measured(self, document: Document) -> Document:
        """With its bytes; those of raw text stay what they are."""
        if document.num_bytes is not None:
            return document
        text = self._processor.decode(document.tokens[1:].tolist())
        return replace(document, num_bytes=len(text.encode()))


def read_documents(path: Path, speller: Speller, start: int) -> list[Document]:
    """Documents of a shard, a folder of shards, or a file with {"text": …} on each line.

    Args:
        path: ends in .bin, is a folder, or ends in .jsonl.
        speller: the track's tokenizer.
        start: the token that begins every document.

    Raises:
        UsageError: there is nothing of that kind.
        DataError: a shard or a line is malformed.
    """
    shards = sorted(path.glob("*.bin")) if path.is_dir() else [path]
    if path.suffix == ".jsonl":
        found = [speller.from_text(text, start) for text in _texts(path)]
    elif path.exists() and shards and all(shard.suffix == ".bin" for shard in shards):
        found = split(_joined(shards), start)
    else:
        raise UsageError(f"--fresh {path}: give shards (.bin) or raw documents (.jsonl)")
    if not found:
        raise UsageError(f"--fresh {path}: holds no document that begins with token {start}")
    return found


def split(tokens: Tokens, start: int) -> list[Document]:
    """Documents, each with its start; what stands before the first one is left out."""
    starts = np.flatnonzero(tokens == start).tolist()
    spans = zip(starts, [*starts[1:], len(tokens)], strict=True)
    return [Document(tokens=tokens[begin:end]) for begin, end in spans]


def source_sha256(path: Path) -> str:
    """Of a file, or of a folder's first shard."""
    return file_sha256(min(path.glob("*.bin")) if path.is_dir() else path)


def _joined(shards: Sequence[Path]) -> Tokens:
    for shard in shards:
        count_tokens(shard)
    return np.concatenate([np.fromfile(s, dtype="<u2", offset=HEADER_BYTES) for s in shards])


def _texts(path: Path) -> Iterator[str]:
    if not path.is_file():
        raise UsageError(f"--fresh {path}: no such file")
    left = MAX_TEXT_BYTES
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            left -= len(line)
            if left < 0:
                return
            try:
                text = json.loads(line)["text"]
            except (ValueError, KeyError, TypeError):
                text = None
            if not isinstance(text, str):
                raise DataError(f'{path}:{number}: want an object with a string "text"')
            if text:
                yield text
