"""Find a track's data on this machine and check it against the track's pins."""

import hashlib
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from verifier.errors import DataError
from verifier.schemas.run_record_json import DataFile
from verifier.schemas.track_yaml import Dataset

SHARD_MAGIC, SHARD_VERSION = 20240520, 1
HEADER_BYTES = 1024
"""256 little-endian int32: magic, version, token count, zeros (the public shard format)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackData:
    """One dataset with its tokenizer, as the runs will see it."""

    folder: Path
    dataset: Path
    tokenizer: Path
    files: tuple[DataFile, ...]

    @property
    def scored_tokens(self) -> int:
        """Targets of a full evaluation: every validation token but the first."""
        return sum(f.num_tokens or 0 for f in self.files if is_validation(f.path)) - 1


def locate_data(dataset: Dataset, folder: Path | None, wanted: str | None = None) -> TrackData:
    """Find `datasets/<name>/` and its tokenizer below `folder` and check every pin.

    Args:
        dataset: the track's word on its data.
        folder: from --data, or None for the track's default folder.
        wanted: the dataset's name where several lie there (from the run command's DATA_PATH).

    Raises:
        DataError: missing, several to choose from, a malformed shard, or a hash that differs.
    """
    root = folder or Path(dataset.default_folder)
    candidates = sorted(p for p in (root / "datasets").glob("*") if p.is_dir())
    chosen = [p for p in candidates if p.name == wanted] or candidates
    if not chosen:
        own = f", or {wanted}, which the submission names" if wanted else ""
        raise DataError(f"{root}: no track data there; bring it with '{dataset.mend}'{own}")
    if len(chosen) > 1:
        names = ", ".join(p.name for p in chosen)
        raise DataError(
            f"{root / 'datasets'}: several datasets ({names}); give --data a folder of one"
        )
    pins = {pin.path: pin.sha256 for pin in dataset.pins}
    shards = sorted(chosen[0].glob("fineweb_*.bin"))
    tokenizer = _fitting_tokenizer(chosen[0], root / "tokenizers", dataset.mend)
    try:
        files = tuple(_data_file(path, root, pins) for path in (*shards, tokenizer))
    except OSError as error:
        raise DataError(
            f"{error.filename}: {error.strerror}; bring it with '{dataset.mend}'"
        ) from error
    _require_complete(files, pins, root, dataset.mend)
    return TrackData(folder=root, dataset=chosen[0], tokenizer=tokenizer, files=files)


def _fitting_tokenizer(dataset: Path, folder: Path, mend: str) -> Path:
    """The dataset's namesake, or the one that shares its vocabulary's size and most words.

    Published names differ: `fineweb10B_sp1024` goes with `fineweb_1024_bpe.model`.
    """
    wanted = _words(dataset.name)
    fitting = [
        path
        for path in sorted(folder.glob("*"))
        if path.suffix in (".model", ".json")
        and (path.stem == dataset.name or any(w.isdigit() for w in wanted & _words(path.stem)))
    ]
    if not fitting:
        raise DataError(f"{folder}: no tokenizer of {dataset.name} there; bring it with '{mend}'")
    return min(fitting, key=lambda p: (p.stem != dataset.name, len(wanted ^ _words(p.stem))))


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z]+|[0-9]+", name.lower()))


def is_validation(path: str) -> bool:
    """Whether a shard holds tokens to be scored; `_bytes_` shards hold their lengths in bytes."""
    name = PurePosixPath(path).name
    return "_val_" in name and "_bytes_" not in name


def _data_file(path: Path, root: Path, pins: dict[str, str]) -> DataFile:
    name = path.relative_to(root).as_posix()
    if not path.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{path}: links to a place that the sandbox does not show; copy it there")
    # Hashing eighty training shards takes a minute; validation is always worth it.
    sha256 = file_sha256(path) if name in pins or "_train_" not in path.name else None
    return DataFile(
        path=name,
        num_bytes=path.stat().st_size,
        sha256=sha256,
        num_tokens=count_tokens(path) if path.suffix == ".bin" else None,
    )


def _require_complete(
    files: tuple[DataFile, ...], pins: dict[str, str], root: Path, mend: str
) -> None:
    names = [PurePosixPath(f.path).name for f in files]
    for split in ("_train_", "_val_"):
        if not any(split in name for name in names):
            raise DataError(f"{root}: no fineweb{split}*.bin there; bring it with '{mend}'")
    found = {f.path: f.sha256 for f in files}
    for path, sha256 in pins.items():
        if found.get(path) != sha256:
            state = "is missing" if path not in found else "is not the file that the track pins"
            raise DataError(f"{root / path} {state}; bring it anew with '{mend}'")
    if pins and set(found) - set(pins):
        extra = ", ".join(sorted(set(found) - set(pins)))
        raise DataError(f"{root}: {extra} does not belong to the track; move it away")


def count_tokens(path: Path) -> int:
    """Tokens in a shard by its header.

    Raises:
        DataError: wrong magic or version, or a size that differs from the header's count.
    """
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        raise DataError(f"{path}: {len(header)} bytes are too few for a token shard")
    magic, version, num_tokens = struct.unpack_from("<3i", header)
    if (magic, version) != (SHARD_MAGIC, SHARD_VERSION):
        raise DataError(
            f"{path}: not a token shard (magic {magic}, version {version}; "
            f"want {SHARD_MAGIC}, {SHARD_VERSION})"
        )
    expected = HEADER_BYTES + 2 * num_tokens
    if path.stat().st_size != expected:
        raise DataError(
            f"{path}: {path.stat().st_size} bytes, but its header promises {expected}; "
            "it was cut or damaged"
        )
    return int(num_tokens)


def cut_shard(source: Path, target: Path, num_tokens: int) -> None:
    """Write the first `num_tokens` of a shard, or all of it, as a shard of its own.

    Raises:
        DataError: the source is no shard.
        OSError: the disk refuses.
    """
    kept = min(num_tokens, count_tokens(source))
    with source.open("rb") as file:
        file.seek(HEADER_BYTES)
        tokens = file.read(2 * kept)
    header = struct.pack("<3i", SHARD_MAGIC, SHARD_VERSION, kept).ljust(HEADER_BYTES, b"\0")
    target.write_bytes(header + tokens)
    make_as_old(target, source)


def make_as_old(path: Path, other: Path) -> None:
    """Give a file or folder another's times, so that they do not tell what was made for a run.

    Raises:
        OSError: the disk refuses.
    """
    status = other.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file of any size, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
