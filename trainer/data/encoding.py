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
from trainer.data.documents import Document, text_hashes
from trainer.errors import DataError
from trainer.recipe import BOS_ID

BATCH_CHARS = 500_000


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedDocument:
    """One document as it goes into a shard, with what the manifest wants to know of it."""

    tokens: np.ndarray  # (num_tokens,) uint16, BOS first
    num_bytes: int  # of the original text
    counted_bytes: int  # charged by the byte table for all tokens after BOS
    exact_hash: bytes
    normalised_hash: bytes
    source_bytes: int


class DocumentEncoder:
    """A tokenizer and its byte table."""

    def __init__(self, tokenizer_path: Path) -> None:
        self._model = load_sentencepiece(tokenizer_path)
        self._table = load_byte_table(tokenizer_path, self._model.vocab_size())

    def encode(self, batch: list[Document]) -> list[EncodedDocument]:
        """Encode a batch."""
        return [self._encode_one(document) for document in batch]

    def _encode_one(self, document: Document) -> EncodedDocument:
        tokens = np.array([BOS_ID, *self._model.encode(document.text)], dtype=np.uint16)
        exact_hash, normalised_hash = text_hashes(document.text)
        return EncodedDocument(
            tokens=tokens,
            num_bytes=len(document.text.encode()),
            counted_bytes=count_bytes(self._table, tokens[:-1], tokens[1:]),
            exact_hash=exact_hash,
            normalised_hash=normalised_hash,
            source_bytes=document.source_bytes,
        )


def encode_documents(
    documents: Iterable[Document], tokenizer_path: Path, workers: int
) -> Iterator[EncodedDocument]:
    """Encode a stream of documents; the result does not depend on the number of workers.

    Raises:
        DataError: a worker process died.
    """
    batches = batches_of(documents)
    if workers == 1:
        encoder = DocumentEncoder(tokenizer_path)
        for batch in batches:
            yield from encoder.encode(batch)
        return
    with ProcessPoolExecutor(workers, initializer=prepare_worker) as pool:
        # Reading stays this far ahead of the slowest batch, so memory is bounded.
        pending: deque[Future[list[EncodedDocument]]] = deque()
        try:
            for batch in batches:
                pending.append(pool.submit(encode_in_worker, tokenizer_path, batch))
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


def encode_in_worker(tokenizer_path: Path, batch: list[Document]) -> list[EncodedDocument]:
    """What a worker process runs."""
    return worker_encoder(tokenizer_path).encode(batch)


@cache
def worker_encoder(tokenizer_path: Path) -> DocumentEncoder:
    """Each worker process loads the tokenizer once."""
    return DocumentEncoder(tokenizer_path)
