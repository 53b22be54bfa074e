"""Where a fetched submission came from: a small file of ours beside its folder."""

from pathlib import Path

from verifier.schemas.base import StrictModel


class SourceRecord(StrictModel):
    """`submissions/<pr>.source.json`, written by `fetch`."""

    remote: str
    ref: str
    commit: str
    path: str


def source_file(submission: Path) -> Path:
    """Beside the folder, never in it: the folder is the submission, untouched."""
    folder = submission.resolve()
    return folder.with_name(f"{folder.name}.source.json")


def read_commit(submission: Path) -> str | None:
    """The head commit that a submission was fetched at, if `fetch` brought it."""
    path = source_file(submission)
    return SourceRecord.model_validate_json(path.read_bytes()).commit if path.is_file() else None
