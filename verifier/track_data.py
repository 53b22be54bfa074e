"""Find a track's data on this machine and check it against the track's pins."""

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path

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
    tokenizer: Path | None
    files: tuple[DataFile, ...]

    @property
    def scored_tokens(self) -> int:
        """Targets of a full evaluation: every validation token but the first."""
        return sum(f.num_tokens or 0 for f in self.files if "_val_" in f.path) - 1


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
        raise DataError(f"{root}: no track data there; bring it with '{dataset.mend}'")
    if len(chosen) > 1:
        names = ", ".join(p.name for p in chosen)
        raise DataError(f"{root / 'datasets'}: several datasets ({names}); give --data one of them")
    pins = {pin.path: pin.sha256 for pin in dataset.pins}
    shards = sorted(chosen[0].glob("fineweb_*.bin"))
    tokenizers = sorted((root / "tokenizers").glob("*.model"))
    matching = [t for t in tokenizers if t.stem in chosen[0].name or chosen[0].name in t.stem]
    tokenizer = next(iter(matching or tokenizers), None)
    paths = [*shards, *([tokenizer] if tokenizer else [])]
    files = tuple(_data_file(path, root, pins) for path in paths)
    _require_complete(files, pins, root, dataset.mend)
    return TrackData(folder=root, dataset=chosen[0], tokenizer=tokenizer, files=files)


def _data_file(path: Path, root: Path, pins: dict[str, str]) -> DataFile:
    name = path.relative_to(root).as_posix()
    # Hashing eighty training shards takes a minute; validation is always worth it.
    sha256 = _sha256(path) if name in pins or "_val_" in name else None
    return DataFile(
        path=name,
        num_bytes=path.stat().st_size,
        sha256=sha256,
        num_tokens=count_tokens(path) if path.suffix == ".bin" else None,
    )


def _require_complete(
    files: tuple[DataFile, ...], pins: dict[str, str], root: Path, mend: str
) -> None:
    for split in ("_train_", "_val_"):
        if not any(split in f.path for f in files):
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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
