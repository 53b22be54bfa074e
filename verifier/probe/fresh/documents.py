"""Documents that a reviewer brings, as tokens, with the bytes of their raw text."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from verifier.errors import DataError, UsageError
from verifier.probe.fresh.transforms import OPERATORS, CaseOperators, Transform, Untouched, text_on
from verifier.probe.tapes.variants import Tokens
from verifier.track_data import HEADER_BYTES, count_tokens, file_sha256

MAX_TEXT_BYTES = 2**26
"""Of a file of raw documents that are read; enough for ten times what is compared."""
CUT_TOKENS, WHOLE_TOKENS = 1_024, 16_384
"""Many beginnings tell more than few whole documents, because what differs most is documents. But
some stay whole, or nobody would see what is known of their ends."""
MAX_TOKEN_BYTES = 2**16 - 1
"""Sidecars have 16 bits a token."""
STRANGE_SHARE, DEVIATIONS = 0.6, 3.0
"""By which shares of documents with a token may differ; half a deviation for each of two heaps,
so that three of them pass six deviations."""
SPACE = "\u2581"
"""What SentencePiece writes for one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """One document behind its start token."""

    tokens: Tokens  # (n + 1,), the first one is the start
    text: str | None = None
    """As it was before any change; None before anyone spelled the tokens."""
    sizes: Tokens | None = None  # (n + 1,) bytes of the text that each token stands for
    sidecar_bytes: int | None = None
    """What the data's own sidecar says of the whole document, where there is one."""
    most_tokens: int = WHOLE_TOKENS
    """Of which its beginning is what is scored."""
    is_retold: bool = False
    """Whether its tokens spell something else than what became of its text."""

    def __len__(self) -> int:
        """Tokens that are scored, with the start."""
        return min(len(self.tokens), self.most_tokens)

    @property
    def num_bytes(self) -> int:
        """Of what its tokens stand for."""
        return 0 if self.sizes is None else int(self.sizes.sum())

    def cut(self) -> "Document":
        """Its beginning, if it is long, with the bytes of that."""
        sizes = None if self.sizes is None else self.sizes[: len(self)]
        return replace(self, tokens=self.tokens[: len(self)], sizes=sizes)


class Speller:
    """Text to tokens and back, by the track's tokenizer, and by what was done to text before."""

    def __init__(self, model: Path, transform: Transform | None = None) -> None:
        """Load a SentencePiece model.

        Args:
            model: its file.
            transform: what text goes through before it; None for what the pieces tell.

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
        is_marked = all(mark in self._pieces() for mark in OPERATORS)
        self.transform = transform or (CaseOperators() if is_marked else Untouched())

    def from_texts(self, texts: Sequence[str], start: int) -> list[Document]:
        documents = []
        for text, coded in zip(texts, self.transform.apply(texts), strict=True):
            tokens = np.array([start, *self._processor.encode(coded)], dtype=np.uint16)
            is_retold = self._processor.decode(tokens[1:].tolist()) != coded
            documents.append(Document(tokens=tokens, text=text, is_retold=is_retold))
        return documents

    def spelled(self, document: Document) -> str:
        """What its tokens spell, which is no text yet where something was done to it."""
        return str(self._processor.decode(document.tokens[1:].tolist()))

    def piece(self, token: int) -> str:
        return self._pieces()[token].replace(SPACE, " ")

    def measured(self, documents: Sequence[Document]) -> list[Document]:
        """With their text, and the bytes of each token; raw text stays what it is."""
        untold = [document for document in documents if document.text is None]
        restored = iter(self.transform.restore([self.spelled(document) for document in untold]))
        whole = [d if d.text is not None else replace(d, text=next(restored)) for d in documents]
        weights = self._weights()
        return [
            replace(d, sizes=shared_out(len((d.text or "").encode()), weights[d.tokens]))
            for d in whole
        ]

    def _pieces(self) -> list[str]:
        return [self._processor.id_to_piece(i) for i in range(self._processor.vocab_size())]

    def _weights(self) -> NDArray[np.int64]:
        """(V,) bytes of each piece, without marks that no text had."""
        marks = str.maketrans("", "", self.transform.marks)
        weights = [len(p.replace(SPACE, " ").translate(marks).encode()) for p in self._pieces()]
        for piece in range(len(weights)):
            if self._processor.is_control(piece) or self._processor.is_unknown(piece):
                weights[piece] = 0
            elif self._processor.is_byte(piece):
                weights[piece] = 1
        return np.array(weights)


def strange_token(groups: tuple[Sequence[Document], Sequence[Document]]) -> int | None:
    """A token that most documents of one group have, and few of the other.

    Two heaps of one source have the common words alike, however few documents tell it. A heap that
    went through another transform has not.
    """
    shares = [np.zeros(2**16), np.zeros(2**16)]
    for share, documents in zip(shares, groups, strict=True):
        for document in documents:
            share[np.unique(document.tokens)] += 1 / len(documents)
    differences = np.abs(shares[0] - shares[1])
    luck = DEVIATIONS / min(map(len, groups)) ** 0.5
    return int(differences.argmax()) if differences.max() > max(STRANGE_SHARE, luck) else None


def shared_out(num_bytes: int, weights: NDArray[np.int64]) -> Tokens:
    """(n,) that add up to so many bytes, each as near to its weight as whole numbers allow.

    Where the weights add up to the bytes they are what comes out. Else (normalisation, a transform
    that makes text shorter) all of them give or take alike.
    """
    added = weights.cumsum()
    ends = np.rint(added * (num_bytes / max(int(added[-1]), 1))).astype(np.int64)
    return np.diff(ends, prepend=0).clip(max=MAX_TOKEN_BYTES).astype(np.uint16)


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
    sources = _sources(path)
    if path.suffix == ".jsonl":
        found = speller.from_texts(list(_texts(path)), start)
    else:
        found = split(_joined(sources), start)
    if not found:
        raise UsageError(f"--fresh {path}: holds no document that begins with token {start}")
    return found


def split(tokens: Tokens, start: int, sidecar: Tokens | None = None) -> list[Document]:
    """Documents, each with its start; what stands before the first one is left out.

    Args:
        tokens: (N,) of a text.
        start: the token that begins every document.
        sidecar: (N,) bytes that each token is said to stand for, where the data say it.
    """
    starts = np.flatnonzero(tokens == start).tolist()
    spans = zip(starts, [*starts[1:], len(tokens)], strict=True)
    told = None if sidecar is None else np.append(0, sidecar.cumsum(dtype=np.int64))
    return [
        Document(
            tokens=tokens[begin:end],
            sidecar_bytes=None if told is None else int(told[end] - told[begin]),
        )
        for begin, end in spans
    ]


def source_sha256(path: Path) -> str:
    """Of a file, or of the hashes of a folder's shards: who adds one has other documents.

    Raises:
        UsageError: there is nothing of that kind.
    """
    hashes = [file_sha256(source) for source in _sources(path)]
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def _sources(path: Path) -> list[Path]:
    """A file, or a folder's shards of tokens, beside which sidecars may lie."""
    found = [shard for shard in path.glob("*.bin") if "_bytes_" not in shard.name]
    files = sorted(found) if path.is_dir() else [path] if path.is_file() else []
    if not files or any(file.suffix not in (".bin", ".jsonl") for file in files):
        raise UsageError(f"--fresh {path}: give shards (.bin) or raw documents (.jsonl)")
    return files


def _joined(shards: Sequence[Path]) -> Tokens:
    for shard in shards:
        count_tokens(shard)
    return np.concatenate([np.fromfile(s, dtype="<u2", offset=HEADER_BYTES) for s in shards])


def _texts(path: Path) -> Iterator[str]:
    left = MAX_TEXT_BYTES
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            left -= len(line)
            if left < 0:
                return
            try:
                text = text_on(line)
            except ValueError:
                reason = f'{path}:{number}: want an object with a string "text"'
                raise DataError(reason) from None
            if text:
                yield text
