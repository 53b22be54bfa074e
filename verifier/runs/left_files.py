"""What a run left in its working folder, and which of it is the artifact."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from verifier.intake.bounded_files import walk_folder
from verifier.sandbox.scratch import MAX_SCRATCH_ENTRIES
from verifier.track_data import file_sha256

MAX_ARTIFACT_DEPTH = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenFile:
    """A regular file that the run left behind."""

    location: Path
    num_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """The files that count as the model, by name, as they lay on our disk."""

    files: Mapping[str, WrittenFile]
    sha256: str
    """Over names and contents, in order."""

    @property
    def name(self) -> str:
        return ", ".join(self.files)

    @property
    def num_bytes(self) -> int:
        return sum(file.num_bytes for file in self.files.values())


def written_files(workdir: Path, delivered: Mapping[str, int]) -> dict[str, WrittenFile]:
    """What the run wrote, by its path below the workdir; what it was given unchanged is left out.

    Links, pipes and closed folders are left out too; so is everything where there is too much.

    Args:
        workdir: where the run worked; its processes are dead.
        delivered: files that we put there, with their sizes.
    """
    written = {}
    try:
        for entry in walk_folder(workdir, MAX_ARTIFACT_DEPTH, MAX_SCRATCH_ENTRIES):
            if entry.refusal is None:
                name = os.fsencode("/".join(entry.parts)).decode("utf-8", "backslashreplace")
                num_bytes = entry.location.stat(follow_symlinks=False).st_size
                if delivered.get(name) != num_bytes:
                    written[name] = WrittenFile(location=entry.location, num_bytes=num_bytes)
    except OverflowError:
        return {}
    return written


def named_artifact(written: Mapping[str, WrittenFile], named: object) -> Artifact | None:
    """The files that a contract names; None where it names none or one of them is not there."""
    if not isinstance(named, list | tuple) or not all(isinstance(name, str) for name in named):
        return None
    names = dict.fromkeys(PurePosixPath(name).as_posix() for name in named)
    if not names or not all(name in written for name in names):
        return None
    return as_artifact({name: written[name] for name in names})


def sized_artifact(written: Mapping[str, WrittenFile], model_bytes: int | None) -> Artifact | None:
    """The first file whose size is the one that the script prints for its compressed model."""
    fitting = {name: file for name, file in written.items() if file.num_bytes == model_bytes}
    return as_artifact(dict(list(fitting.items())[:1])) if fitting else None


def as_artifact(files: Mapping[str, WrittenFile]) -> Artifact:
    """The artifact that these files make, hashed."""
    digest = hashlib.sha256()
    for name, file in files.items():
        digest.update(name.encode() + b"\0" + bytes.fromhex(file_sha256(file.location)))
    return Artifact(files=files, sha256=digest.hexdigest())
