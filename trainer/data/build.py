"""Shards, tokenizer and manifest from documents: `pgolf-train data build`.

OUT/datasets/NAME/fineweb_{train,val}_*.bin, OUT/tokenizers/NAME.model and .vocab, and, last,
OUT/manifest.json. All is made in OUT/.building and moved when complete, so a killed build leaves
nothing that could be mistaken for a data set.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from trainer import __version__
from trainer.data.build_request import (
    BuildRequest,
    DocumentStream,
    describe_inputs,
    find_existing_build,
)
from trainer.data.case_operators import with_operators
from trainer.data.documents import Document
from trainer.data.encoding import EncodedDocument, TextForm, encode_documents
from trainer.data.manifest import (
    MANIFEST_NAME,
    BuildInputs,
    DroppedEntry,
    Manifest,
    SplitEntry,
    TokenizerEntry,
    file_sha256,
    load_manifest,
    write_manifest,
)
from trainer.data.progress import ProgressCallback
from trainer.data.split_writer import SplitWriter
from trainer.data.tokenizers import train_tokenizer, training_options, vocabulary_listing
from trainer.errors import DataError

# SentencePiece keeps its training text in memory; from larger sources every k-th document is used.
TOKENIZER_SOURCE_BYTES = 64_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildOutcome:
    """The manifest, and whether it was there before."""

    manifest: Manifest
    was_up_to_date: bool


def build_dataset(request: BuildRequest, progress: ProgressCallback) -> BuildOutcome:
    """Build the folder, or find that it is built.

    Raises:
        DataError: a source cannot be used, or another build is in the way.
    """
    inputs = describe_inputs(request)
    existing = find_existing_build(request, inputs)
    if existing is not None:
        return BuildOutcome(manifest=existing, was_up_to_date=True)
    staging = request.out / ".building"
    shutil.rmtree(staging, ignore_errors=True)  # of a build that was killed
    try:
        manifest = build_in(staging, request, inputs, progress)
        publish(staging, request, manifest)
    except OSError as error:
        # Of a copy that fails the file that is written comes second.
        place = error.filename2 or error.filename or request.out
        raise DataError(f"{place}: {error.strerror}; mend that, or choose another --out") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return BuildOutcome(manifest=manifest, was_up_to_date=False)


def build_in(
    staging: Path, request: BuildRequest, inputs: BuildInputs, progress: ProgressCallback
) -> Manifest:
    """Make tokenizer and shards under `staging`; the manifest that describes them."""
    stream = DocumentStream(request)
    tokenizer = place_tokenizer(staging, request, inputs, progress)
    dataset = staging / "datasets" / request.name
    dataset.mkdir(parents=True)
    form = TextForm(tokenizer_path=staging / tokenizer.path, case_ops=request.case_ops)
    done_bytes = 0

    def encode(documents: Iterator[Document]) -> Iterator[EncodedDocument]:
        nonlocal done_bytes
        for encoded in encode_documents(documents, form, request.workers):
            done_bytes += encoded.source_bytes
            progress("encode", done_bytes, stream.total_bytes)
            yield encoded

    validation = write_validation(
        encode(stream.val()), SplitWriter(dataset, "val", request.shard_tokens)
    )
    training = write_training(
        encode(stream.train()), SplitWriter(dataset, "train", request.shard_tokens), validation
    )
    return Manifest(
        pgolf_version=__version__,
        inputs=inputs,
        tokenizer=tokenizer,
        train=training.split,
        val=validation.split,
        dropped_from_train=training.dropped,
    )


def place_tokenizer(
    staging: Path, request: BuildRequest, inputs: BuildInputs, progress: ProgressCallback
) -> TokenizerEntry:
    """Copy the tokenizer to be reused, or train one on training documents alone."""
    path = staging / "tokenizers" / f"{request.name}.model"
    path.parent.mkdir(parents=True)
    if request.tokenizer is not None:
        shutil.copyfile(request.tokenizer, path)
    else:
        progress("train the tokenizer", 0, 0)
        stream = DocumentStream(request)
        step = 1 + stream.total_bytes // TOKENIZER_SOURCE_BYTES
        texts: Iterator[str] = (document.text for document in islice(stream.train(), 0, None, step))
        if request.case_ops:
            texts = map(with_operators, texts)
        path.write_bytes(train_tokenizer(texts, inputs.vocab_size, case_ops=request.case_ops))
    path.with_suffix(".vocab").write_text(vocabulary_listing(path), encoding="utf-8")
    return TokenizerEntry(
        path=path.relative_to(staging).as_posix(),
        sha256=file_sha256(path),
        vocab_size=inputs.vocab_size,
        training_options=None if request.tokenizer else training_options(case_ops=request.case_ops),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationWritten:
    """The validation split and the hashes of its texts, exact and normalised."""

    split: SplitEntry
    exact: frozenset[bytes]
    normalised: frozenset[bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingWritten:
    """The training split and what was kept out of it."""

    split: SplitEntry
    dropped: DroppedEntry


def write_validation(
    documents: Iterator[EncodedDocument], writer: SplitWriter
) -> ValidationWritten:
    """Write all validation documents.

    Raises:
        DataError: there are none.
    """
    exact, normalised = set(), set()
    for document in documents:
        exact.add(document.exact_hash)
        normalised.add(document.normalised_hash)
        writer.add(document)
    if not exact:
        raise DataError("no validation documents; raise --val-docs or give --val a source")
    return ValidationWritten(
        split=writer.close(), exact=frozenset(exact), normalised=frozenset(normalised)
    )


def write_training(
    documents: Iterator[EncodedDocument], writer: SplitWriter, validation: ValidationWritten
) -> TrainingWritten:
    """Write the training documents, but none whose text validation holds.

    Raises:
        DataError: none are left.
    """
    dropped_exact = dropped_normalised = 0
    for document in documents:
        if document.exact_hash in validation.exact:
            dropped_exact += 1
        elif document.normalised_hash in validation.normalised:
            dropped_normalised += 1
        else:
            writer.add(document)
    split = writer.close()
    if split.num_documents == 0:
        raise DataError("no training documents are left; lower --val-docs or add sources")
    dropped = DroppedEntry(exact=dropped_exact, normalised=dropped_normalised)
    return TrainingWritten(split=split, dropped=dropped)


def publish(staging: Path, request: BuildRequest, manifest: Manifest) -> None:
    """Move a complete build to its place, the manifest last.

    Raises:
        DataError: a shipped corpus did not come out as it was pinned.
    """
    if request.pinned_manifest is not None:
        check_pinned(manifest, request.pinned_manifest)
    (request.out / MANIFEST_NAME).unlink(missing_ok=True)
    tokenizers = request.out / "tokenizers"
    tokenizers.mkdir(exist_ok=True)
    for path in (staging / "tokenizers").iterdir():
        path.replace(tokenizers / path.name)
    dataset = request.out / "datasets" / request.name
    shutil.rmtree(dataset, ignore_errors=True)
    dataset.parent.mkdir(exist_ok=True)
    (staging / "datasets" / request.name).replace(dataset)
    write_manifest(manifest, request.out)


def check_pinned(manifest: Manifest, pinned_path: Path) -> None:
    """Compare a build of a shipped corpus with the manifest that ships beside it.

    Raises:
        DataError: tokens differ, so scores would not compare.
    """
    pinned = load_manifest(pinned_path)
    if (manifest.tokenizer, manifest.train, manifest.val) != (
        pinned.tokenizer,
        pinned.train,
        pinned.val,
    ):
        raise DataError(
            f"{pinned_path}: the shards came out different from the pinned ones; "
            "restore the corpus folder, or use the SentencePiece release that ORIGIN.md names"
        )
