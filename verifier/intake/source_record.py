"""Where a fetched submission came from: a small file of ours beside its folder."""

import re
from pathlib import Path
from urllib.parse import quote

from pydantic import ValidationError

from verifier.errors import HarnessError
from verifier.schemas.base import StrictModel


class SourceRecord(StrictModel):
    """`submissions/<pr>.source.json`, written by `fetch`."""

    remote: str
    ref: str
    commit: str
    path: str

    def web_address(self, file: str, line: int | None = None) -> str | None:
        """Where a browser shows a file of the folder; None for what does not lie at GitHub."""
        repository = re.fullmatch(r"(https://github\.com/[\w.-]+/[\w.-]+?)(\.git)?/?", self.remote)
        if repository is None or not re.fullmatch(r"[0-9a-f]{40}", self.commit):
            return None
        place = quote(f"{self.path}/{file}", errors="replace")
        return f"{repository[1]}/blob/{self.commit}/{place}" + (f"#L{line}" if line else "")


def source_file(submission: Path) -> Path:
    """Beside the folder, never in it: the folder is the submission, untouched."""
    folder = submission.resolve()
    return folder.parent / f"{folder.name}.source.json"


def read_source(submission: Path) -> SourceRecord | None:
    """Where a submission was fetched from, if `fetch` brought it.

    Raises:
        HarnessError: the note is not what `fetch` wrote.
    """
    path = source_file(submission)
    if not path.is_file():
        return None
    try:
        return SourceRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise HarnessError(
            f"{path}: not what fetch wrote; remove it, or fetch the pull request anew"
        ) from error


def read_commit(submission: Path) -> str | None:
    """The head commit of `read_source`."""
    source = read_source(submission)
    return source.commit if source else None
