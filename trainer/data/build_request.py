"""What is to be built, from which files, and whether it is there already."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from trainer.data.documents import Document, read_documents, source_files
from trainer.data.manifest import (
    MANIFEST_NAME,
    BuildInputs,
    Manifest,
    SourceEntry,
    file_sha256,
    read_manifest,
)
from trainer.data.token_shards import shard_num_tokens
from trainer.data.tokenizers import check_case_operators, check_reused_tokenizer
from trainer.errors import DataError

DEFAULT_VOCAB_SIZE = 1024
PUBLISHED_SHARD_TOKENS = 100_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildRequest:
    """What to build; validation is `val_source`, or else the first `val_docs` documents."""

    sources: tuple[Path, ...]
    out: Path
    name: str
    val_docs: int = 0
    val_source: Path | None = None
    vocab_size: int | None = None
    tokenizer: Path | None = None  # reused; without one, a tokenizer is trained
    shard_tokens: int = PUBLISHED_SHARD_TOKENS
    workers: int = 1
    overwrite: bool = False
    case_ops: bool = False  # capital letters become operators, and validation gets a byte sidecar
    pinned_manifest: Path | None = None  # of a shipped corpus: the result must equal it


class DocumentStream:
    """The files of a request and the documents of each split, read anew at each call."""

    def __init__(self, request: BuildRequest) -> None:
        self.paths = [path for source in request.sources for path in source_files(source)]
        self.val_paths = source_files(request.val_source) if request.val_source else []
        self.val_docs = request.val_docs
        self.total_bytes = sum(path.stat().st_size for path in self.paths + self.val_paths)

    def val(self) -> Iterator[Document]:
        """The validation documents: those of their own source, or else the first of all."""
        if self.val_paths:
            return read_documents(self.val_paths)
        return islice(read_documents(self.paths), self.val_docs)

    def train(self) -> Iterator[Document]:
        """The training documents: all behind the first `val_docs`."""
        return islice(read_documents(self.paths), self.val_docs, None)


def describe_inputs(request: BuildRequest) -> BuildInputs:
    """All that determines the result, in the form that the manifest keeps.

    Raises:
        DataError: a source is missing, or the tokenizer to be reused does not fit.
    """
    stream = DocumentStream(request)
    vocab_size = request.vocab_size or DEFAULT_VOCAB_SIZE
    reused_sha256 = None
    if request.tokenizer is not None:
        vocab_size = check_reused_tokenizer(request.tokenizer, request.vocab_size)
        if request.case_ops:
            check_case_operators(request.tokenizer)
        reused_sha256 = file_sha256(request.tokenizer)
    return BuildInputs(
        name=request.name,
        sources=[describe_source(path) for path in stream.paths],
        val_sources=[describe_source(path) for path in stream.val_paths],
        val_docs=request.val_docs,
        shard_tokens=request.shard_tokens,
        vocab_size=vocab_size,
        reused_tokenizer_sha256=reused_sha256,
        case_ops=request.case_ops,
    )


def describe_source(path: Path) -> SourceEntry:
    """Name, size and hash of one source file."""
    return SourceEntry(name=path.name, num_bytes=path.stat().st_size, sha256=file_sha256(path))


def find_existing_build(request: BuildRequest, inputs: BuildInputs) -> Manifest | None:
    """The manifest of a complete build of the same inputs, if `out` holds one.

    Raises:
        DataError: `out` holds something else, and `overwrite` is off.
    """
    dataset = request.out / "datasets" / request.name
    tokenizer = request.out / "tokenizers" / f"{request.name}.model"
    occupied = [p for p in (request.out / MANIFEST_NAME, dataset, tokenizer) if p.exists()]
    if request.overwrite or not occupied:
        return None
    manifest = read_manifest(request.out)
    if manifest is not None and manifest.inputs == inputs and is_complete(request.out, manifest):
        return manifest
    raise DataError(
        f"{occupied[0]}: belongs to another or a damaged build; "
        "choose another --out, or replace it with --overwrite"
    )


def is_complete(out: Path, manifest: Manifest) -> bool:
    """Whether all files are there in the right size; `data inspect` checks the hashes too."""
    folder = out / "datasets" / manifest.inputs.name
    try:
        sizes_agree = all(
            shard_num_tokens(folder / shard.path) == shard.num_tokens
            for split in (manifest.train, manifest.val)
            for shard in (*split.shards, *split.byte_shards)
        )
    except DataError:
        return False
    return sizes_agree and (out / manifest.tokenizer.path).is_file()
