"""Encoded documents to shards, counted and hashed on the way."""

import hashlib
from pathlib import Path

import numpy as np

from trainer.data.encoding import EncodedDocument
from trainer.data.manifest import ShardEntry, SplitEntry, file_sha256
from trainer.data.token_shards import write_shard


class ShardSeries:
    """Numbers to shards that are full but for the last."""

    def __init__(self, folder: Path, stem: str, shard_tokens: int) -> None:
        self._folder = folder
        self._stem = stem
        self._buffer = np.empty(shard_tokens, dtype=np.uint16)
        self._fill = 0
        self._shards: list[ShardEntry] = []

    def add(self, numbers: np.ndarray) -> None:
        """Append; what is one document's may straddle two shards, as in the published ones."""
        rest = numbers
        while rest.size:
            taken = rest[: self._buffer.size - self._fill]
            self._buffer[self._fill : self._fill + taken.size] = taken
            self._fill += taken.size
            rest = rest[taken.size :]
            if self._fill == self._buffer.size:
                self._flush()

    def close(self) -> list[ShardEntry]:
        """Write the last, short shard; all shards."""
        if self._fill:
            self._flush()
        return self._shards

    def _flush(self) -> None:
        path = self._folder / f"fineweb_{self._stem}_{len(self._shards):06d}.bin"
        write_shard(path, self._buffer[: self._fill])
        entry = ShardEntry(path=path.name, sha256=file_sha256(path), num_tokens=self._fill)
        self._shards.append(entry)
        self._fill = 0


class SplitWriter:
    """Fills the shards of one split; validation's with the bytes of each token, if these are known.

    What tokens stand for lies in `fineweb_val_bytes_*.bin`, a number a token, as in #1729.
    """

    def __init__(self, folder: Path, split: str, shard_tokens: int) -> None:
        self._tokens = ShardSeries(folder, split, shard_tokens)
        self._token_bytes = ShardSeries(folder, f"{split}_bytes", shard_tokens)
        self._is_scored = split == "val"
        self._digest = hashlib.sha256()
        self._documents = self._bytes = self._counted_bytes = 0

    def add(self, document: EncodedDocument) -> None:
        """Append one document."""
        self._documents += 1
        self._bytes += document.num_bytes
        self._counted_bytes += document.counted_bytes
        self._digest.update(document.exact_hash)
        self._tokens.add(document.tokens)
        if self._is_scored and document.token_bytes is not None:
            self._token_bytes.add(document.token_bytes)

    def close(self) -> SplitEntry:
        """Write what is left; what the split holds."""
        shards = self._tokens.close()
        return SplitEntry(
            num_documents=self._documents,
            num_tokens=sum(shard.num_tokens for shard in shards),
            num_bytes=self._bytes,
            counted_bytes=self._counted_bytes,
            documents_sha256=self._digest.hexdigest(),
            shards=shards,
            byte_shards=self._token_bytes.close(),
        )
