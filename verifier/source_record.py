"""Where a fetched submission came from: a small file of ours beside its folder."""

from pathlib import Path

from pydantic import ValidationError

from verifier.errors import HarnessError
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
    return folder.parent / f"{folder.name}.source.json"


def read_commit(submission: Path) -> str | None:
    """The head commit that a submission was fetched at, if `fetch` brought it.

    Raises:
        HarnessError: the note is not what `fetch` wrote.
    """
    path = source_file(submission)
    if not path.is_file():
        return None
    try:
        return SourceRecord.model_validate_json(path.read_bytes()).commit
    except ValidationError as error:
        raise HarnessError(
            f"{path}: not what fetch wrote; remove it, or fetch the pull request anew"
        ) from error
