"""Documents to tokens, on several processes, in the order they came."""

import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from multiprocessing import parent_process
from pathlib import Path

import numpy as np

from trainer.data.byte_lengths import count_bytes, load_byte_table, load_sentencepiece
from trainer.data.case_operators import original_bytes, with_operators
from trainer.data.documents import Document, text_hashes
from trainer.errors import DataError
from trainer.recipe import BOS_ID

BATCH_CHARS = 500_000


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedDocument:
    """One document as it goes into a shard, with what the manifest wants to know of it."""

    tokens: np.ndarray  # (num_tokens,) uint16, BOS first
    token_bytes: (
        np.ndarray | None
    )  # (num_tokens,) uint16, with case operators: what each stands for
    num_bytes: int  # of the original text
    counted_bytes: int  # charged by the byte table for all tokens after BOS
    exact_hash: bytes
    normalised_hash: bytes
    source_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TextForm:
    """How text becomes tokens."""

    tokenizer_path: Path
    case_ops: bool = False


class DocumentEncoder:
    """A tokenizer and its byte table."""

    def __init__(self, form: TextForm) -> None:
        self._form = form
        self._model = load_sentencepiece(form.tokenizer_path)
        self._table = load_byte_table(form.tokenizer_path, self._model.vocab_size())

    def encode(self, batch: list[Document]) -> list[EncodedDocument]:
        """Encode a batch."""
        return [self._encode_one(document) for document in batch]

    def _encode_one(self, document: Document) -> EncodedDocument:
        text = with_operators(document.text) if self._form.case_ops else document.text
        tokens = np.array([BOS_ID, *self._model.encode(text)], dtype=np.uint16)
        counted_bytes = count_bytes(self._table, tokens[:-1], tokens[1:])
        token_bytes = None
        if self._form.case_ops:
            token_bytes = self._original_bytes(text)
            counted_bytes = int(token_bytes.sum())
        exact_hash, normalised_hash = text_hashes(document.text)
        return EncodedDocument(
            tokens=tokens,
            num_bytes=len(document.text.encode()),
            token_bytes=token_bytes,
            counted_bytes=counted_bytes,
            exact_hash=exact_hash,
            normalised_hash=normalised_hash,
            source_bytes=document.source_bytes,
        )

    def _original_bytes(self, text: str) -> np.ndarray:  # (num_tokens,) uint16, BOS first
        """As #1729: what SentencePiece read for each token, before it normalised anything."""
        offsets = self._model.encode(text, out_type="offset_mapping")["offsets"]
        sizes = original_bytes(text[start:end] for start, end in offsets)
        return np.array([0, *sizes], dtype=np.uint16)


def encode_documents(
    documents: Iterable[Document], form: TextForm, workers: int
) -> Iterator[EncodedDocument]:
    """Encode a stream of documents; the result does not depend on the number of workers.

    Raises:
        DataError: a worker process died.
    """
    batches = batches_of(documents)
    if workers == 1:
        encoder = DocumentEncoder(form)
        for batch in batches:
            yield from encoder.encode(batch)
        return
    with ProcessPoolExecutor(workers, initializer=prepare_worker) as pool:
        # Reading stays this far ahead of the slowest batch, so memory is bounded.
        pending: deque[Future[list[EncodedDocument]]] = deque()
        try:
            for batch in batches:
                pending.append(pool.submit(encode_in_worker, form, batch))
                if len(pending) > 2 * workers:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        except BrokenProcessPool:
            raise DataError("a worker process died (out of memory?); use fewer --workers") from None


def batches_of(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Group documents into batches of about BATCH_CHARS characters."""
    batch: list[Document] = []
    chars = 0
    for document in documents:
        batch.append(document)
        chars += len(document.text)
        if chars >= BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch


def prepare_worker() -> None:
    """Leave Ctrl-C to the parent, and outlive it by no more than a moment if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=exit_after_parent, daemon=True).start()


def exit_after_parent() -> None:
    """Wait for the parent process to end, then end this one."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def encode_in_worker(form: TextForm, batch: list[Document]) -> list[EncodedDocument]:
    """What a worker process runs."""
    return worker_encoder(form).encode(batch)


@cache
def worker_encoder(form: TextForm) -> DocumentEncoder:
    """Each worker process loads the tokenizer once."""
    return DocumentEncoder(form)
