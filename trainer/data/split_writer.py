"""Encoded documents to shards, counted and hashed on the way."""

import hashlib
from pathlib import Path

import numpy as np

from trainer.data.encoding import EncodedDocument
from trainer.data.manifest import ShardEntry, SplitEntry, file_sha256
from trainer.data.token_shards import write_shard


class SplitWriter:
    """Fills the shards of one split; documents may straddle two shards, as the published ones."""

    def __init__(self, folder: Path, split: str, shard_tokens: int) -> None:
        self._folder = folder
        self._split = split
        self._buffer = np.empty(shard_tokens, dtype=np.uint16)
        self._fill = 0
        self._shards: list[ShardEntry] = []
        self._digest = hashlib.sha256()
        self._documents = self._bytes = self._counted_bytes = 0

    def add(self, document: EncodedDocument) -> None:
        """Append one document."""
        self._documents += 1
        self._bytes += document.num_bytes
        self._counted_bytes += document.counted_bytes
        self._digest.update(document.exact_hash)
        rest = document.tokens
        while rest.size:
            taken = rest[: self._buffer.size - self._fill]
            self._buffer[self._fill : self._fill + taken.size] = taken
            self._fill += taken.size
            rest = rest[taken.size :]
            if self._fill == self._buffer.size:
                self._flush()

    def close(self) -> SplitEntry:
        """Write the last, short shard; what the split holds."""
        if self._fill:
            self._flush()
        return SplitEntry(
            num_documents=self._documents,
            num_tokens=sum(shard.num_tokens for shard in self._shards),
            num_bytes=self._bytes,
            counted_bytes=self._counted_bytes,
            documents_sha256=self._digest.hexdigest(),
            shards=self._shards,
        )

    def _flush(self) -> None:
        path = self._folder / f"fineweb_{self._split}_{len(self._shards):06d}.bin"
        write_shard(path, self._buffer[: self._fill])
        entry = ShardEntry(path=path.name, sha256=file_sha256(path), num_tokens=self._fill)
        self._shards.append(entry)
        self._fill = 0
