"""`manifest.json`: what a data folder was made from and what it holds, written last."""

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from trainer.errors import DataError

MANIFEST_NAME = "manifest.json"


class ManifestPart(BaseModel):
    """Our own format: strict and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceEntry(ManifestPart):
    """One file that documents were read from; its name alone, so that a folder can move."""

    name: str
    num_bytes: int
    sha256: str


class BuildInputs(ManifestPart):
    """Everything that determines the bytes of a build, except this program's version."""

    name: str
    sources: list[SourceEntry]
    val_sources: list[SourceEntry]
    val_docs: int
    shard_tokens: int
    vocab_size: int
    reused_tokenizer_sha256: str | None
    case_ops: bool = False


class TokenizerEntry(ManifestPart):
    """The tokenizer; `training_options` is null for one that was reused."""

    path: str
    sha256: str
    vocab_size: int
    training_options: dict[str, str | bool | int | float] | None


class ShardEntry(ManifestPart):
    """One shard file."""

    path: str
    sha256: str
    num_tokens: int


class SplitEntry(ManifestPart):
    """One split; `num_bytes` is the original text, `counted_bytes` what scoring all of it charges.

    With case operators validation has `byte_shards` beside its shards: what each token is charged.
    `documents_sha256` is the SHA-256 over the SHA-256 digests of the documents, in order.
    """

    num_documents: int
    num_tokens: int
    num_bytes: int
    counted_bytes: int
    documents_sha256: str
    shards: list[ShardEntry]
    byte_shards: list[ShardEntry] = []


class DroppedEntry(ManifestPart):
    """Training documents left out because validation holds the same text."""

    exact: int
    normalised: int


class Manifest(ManifestPart):
    """The whole file."""

    schema_version: Literal[1] = 1
    pgolf_version: str
    inputs: BuildInputs
    tokenizer: TokenizerEntry
    train: SplitEntry
    val: SplitEntry
    dropped_from_train: DroppedEntry


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a data folder, or None where there is none.

    Raises:
        DataError: the file is there but is not such a manifest.
    """
    path = folder / MANIFEST_NAME
    return load_manifest(path) if path.exists() else None


def load_manifest(path: Path) -> Manifest:
    """Read one manifest file.

    Raises:
        DataError: it cannot be read or is no manifest of ours.
    """
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot read the manifest: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise DataError(
            f"{path}: not a manifest of `data build` ({where}: {first['msg']}); build it again"
        ) from None


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write the manifest atomically."""
    partial = folder / f"{MANIFEST_NAME}.partial"
    partial.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    partial.replace(folder / MANIFEST_NAME)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
