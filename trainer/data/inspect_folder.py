"""What is in a data folder, and what is wrong with it: `pgolf-train data inspect`."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from trainer.data.byte_lengths import ByteTable, count_bytes, load_byte_table
from trainer.data.data_folder import DatasetLocation, find_datasets
from trainer.data.manifest import Manifest, SplitEntry, file_sha256, read_manifest
from trainer.data.progress import ProgressCallback
from trainer.data.token_shards import (
    has_case_operators,
    read_shard,
    read_token_bytes,
    shard_num_tokens,
    shard_paths,
)
from trainer.data.tokenizers import decode_tokens, tokenizer_vocab_size
from trainer.recipe import BOS_ID

SAMPLE_DOCUMENTS = 3
SAMPLE_TOKENS = 40
SAMPLE_CHARS = 70


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitReport:
    """One split; without its tokenizer there are no bytes and no text."""

    split: str
    num_shards: int
    num_documents: int
    num_tokens: int
    counted_bytes: int | None
    first_documents: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetReport:
    """One data set; `manifest` is "absent", "agrees" or "contradicts"."""

    name: str
    folder: str
    tokenizer: str | None
    vocab_size: int | None
    manifest: str
    splits: list[SplitReport]
    shared_documents: int  # training documents that validation holds token for token
    problems: list[str]


def inspect_folder(
    folder: Path, tokenizer: Path | None, progress: ProgressCallback
) -> list[DatasetReport]:
    """Read every token of every data set in a folder.

    Args:
        folder: a data folder, or one data set in it.
        tokenizer: the tokenizer to count bytes with, where it cannot be told from names.
        progress: called after each document.

    Raises:
        DataError: no data set, or a shard or tokenizer that cannot be read.
    """
    locations = find_datasets(folder)
    if tokenizer is not None:
        locations = [replace(location, tokenizer=tokenizer) for location in locations]
    return [inspect_dataset(location, progress) for location in locations]


def inspect_dataset(location: DatasetLocation, progress: ProgressCallback) -> DatasetReport:
    """Read one data set.

    Raises:
        DataError: as `inspect_folder`.
    """
    table = None
    if location.tokenizer is not None:
        table = load_byte_table(location.tokenizer, tokenizer_vocab_size(location.tokenizer))
    vocab_size = None if table is None else table.base_bytes.size
    has_operators = has_case_operators(location.folder)
    paths = {s: shard_paths(location.folder, s) for s in ("val", "train") if has(location, s)}
    total = sum(shard_num_tokens(path) for shards in paths.values() for path in shards)
    held_out = {token_hash(document) for document in documents_in(paths.get("val", []))}
    scans: dict[str, SplitScan] = {}
    done = 0
    for split, shards in paths.items():
        scans[split] = SplitScan(table, held_out if split == "train" else set())
        scans[split].has_case_operators = has_operators
        for document in documents_in(shards):
            scans[split].add(document)
            done += document.size
            progress("inspect", done, total)
    if has_operators:
        scans["val"].sidecar_bytes = int(read_token_bytes(location.folder).sum())
    manifest = manifest_of(location)
    contradictions = list(check_manifest(location, manifest, scans)) if manifest else []
    return DatasetReport(
        name=location.name,
        folder=str(location.folder),
        tokenizer=str(location.tokenizer) if location.tokenizer else None,
        vocab_size=vocab_size,
        manifest="absent" if manifest is None else "contradicts" if contradictions else "agrees",
        splits=[scans[s].report(s, len(paths[s]), location.tokenizer) for s in paths],
        shared_documents=sum(scan.shared for scan in scans.values()),
        problems=[*scan_problems(scans, vocab_size), *contradictions],
    )


def has(location: DatasetLocation, split: str) -> bool:
    """Whether a data set has shards of a split; an evaluation's has no training shards."""
    return any(location.folder.glob(f"fineweb_{split}_[0-9]*.bin"))


def documents_in(paths: list[Path]) -> Iterator[np.ndarray]:
    """The documents of a split, (n,) uint16 each, put together where they straddle shards."""
    carried = np.empty(0, dtype=np.uint16)
    for path in paths:
        tokens = np.concatenate([carried, read_shard(path)])
        starts = np.flatnonzero(tokens == BOS_ID)
        *whole, carried = np.split(tokens, starts[starts > 0])
        yield from whole
    if carried.size:
        yield carried


def token_hash(document: np.ndarray) -> bytes:
    """SHA-256 of a document's tokens."""
    return hashlib.sha256(document.tobytes()).digest()


class SplitScan:
    """Totals over the documents of one split."""

    def __init__(self, table: ByteTable | None, held_out: set[bytes]) -> None:
        self._table = table
        self._held_out = held_out
        self._first: list[np.ndarray] = []
        self.num_documents = self.num_tokens = self.shared = self.counted_bytes = 0
        self.largest_token = 0
        self.starts_with_bos = True
        self.has_case_operators = False
        self.sidecar_bytes: int | None = None

    def add(self, document: np.ndarray) -> None:
        """Add one document, or what comes before the first BOS."""
        if document[0] == BOS_ID:
            self.num_documents += 1
        else:
            self.starts_with_bos = False
        self.num_tokens += document.size
        self.largest_token = max(self.largest_token, int(document.max()))
        self.shared += token_hash(document) in self._held_out
        if len(self._first) < SAMPLE_DOCUMENTS:
            self._first.append(document[:SAMPLE_TOKENS].copy())
        if self.is_in_vocabulary and self._table is not None:
            self.counted_bytes += count_bytes(self._table, document[:-1], document[1:])

    @property
    def is_in_vocabulary(self) -> bool:
        return self._table is not None and self.largest_token < self._table.base_bytes.size

    @property
    def known_bytes(self) -> int | None:
        """What scoring charges, if it can be told; with case operators a sidecar alone tells."""
        if self.has_case_operators:
            return self.sidecar_bytes
        return self.counted_bytes if self.is_in_vocabulary else None

    def report(self, split: str, num_shards: int, tokenizer: Path | None) -> SplitReport:
        """What was seen; text and bytes only where all tokens are the tokenizer's."""
        texts: list[str] = []
        if tokenizer is not None and self.is_in_vocabulary:
            texts = [printable(decode_tokens(tokenizer, tokens)) for tokens in self._first]
        return SplitReport(
            split=split,
            num_shards=num_shards,
            num_documents=self.num_documents,
            num_tokens=self.num_tokens,
            counted_bytes=self.known_bytes,
            first_documents=texts,
        )


def printable(text: str) -> str:
    """The start of a foreign text, safe for a terminal."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text[:SAMPLE_CHARS]
    )


def scan_problems(scans: dict[str, SplitScan], vocab_size: int | None) -> Iterator[str]:
    """What is wrong with the tokens themselves."""
    for split, scan in scans.items():
        if not scan.starts_with_bos:
            yield f"{split}: the first token is not BOS ({BOS_ID}); a shard is missing or foreign"
        if vocab_size is not None and scan.largest_token >= vocab_size:
            yield f"{split}: token {scan.largest_token}, but the tokenizer has {vocab_size} tokens"
        if scan.shared:
            yield f"{split}: {scan.shared} documents are in validation too"


def manifest_of(location: DatasetLocation) -> Manifest | None:
    """The manifest that speaks of this data set, if there is one."""
    manifest = read_manifest(location.folder.resolve().parent.parent)
    return manifest if manifest is not None and manifest.inputs.name == location.name else None


def check_manifest(
    location: DatasetLocation, manifest: Manifest, scans: dict[str, SplitScan]
) -> Iterator[str]:
    """Where the manifest contradicts the files."""
    tokenizer = location.tokenizer
    if tokenizer is not None and file_sha256(tokenizer) != manifest.tokenizer.sha256:
        yield f"{tokenizer}: not the tokenizer of the manifest (SHA-256 differs)"
    for split, entry in (("val", manifest.val), ("train", manifest.train)):
        on_disk = {path.name for path in location.folder.glob(f"fineweb_{split}_*.bin")}
        listed = {shard.path: shard.sha256 for shard in (*entry.shards, *entry.byte_shards)}
        for name in sorted(on_disk ^ listed.keys()):
            yield f"{name}: {'not in the manifest' if name in on_disk else 'missing'}"
        for name in sorted(on_disk & listed.keys()):
            if file_sha256(location.folder / name) != listed[name]:
                yield f"{name}: its SHA-256 is not that of the manifest"
        if split in scans and not totals_agree(entry, scans[split]):
            yield f"{split}: the manifest's counts of documents, tokens or bytes differ"


def totals_agree(entry: SplitEntry, scan: SplitScan) -> bool:
    """Whether a manifest's totals are those of the tokens."""
    counted_bytes = entry.counted_bytes if scan.known_bytes is None else scan.known_bytes
    return (entry.num_documents, entry.num_tokens, entry.counted_bytes) == (
        scan.num_documents,
        scan.num_tokens,
        counted_bytes,
    )
