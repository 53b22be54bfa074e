"""init: a submission folder that passes `check`, to start from."""

import datetime
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import click

from verifier.errors import UsageError

TEMPLATE = Path(__file__).parents[1] / "template"
"""A small honest submission of the demo track with the logs of its own runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Author:
    """Who hands it in."""

    name: str
    github_id: str


def init(folder: Path, author: Author) -> int:
    """Write the template into a folder that is not there yet.

    Raises:
        UsageError: the folder exists, or cannot be made.
    """
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise UsageError(f"{folder}: exists; name a folder that does not") from None
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}; name another folder") from error
    try:
        for file in sorted(path for path in TEMPLATE.iterdir() if path.is_file()):
            (folder / file.name).write_bytes(_filled(file, folder.name, author))
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise UsageError(f"{folder}: {error.strerror}; name another folder") from error
    click.echo(f"{folder}: a submission of the demo track; now edit {folder / 'train_gpt.py'}")
    click.echo(f"pgolf-verify check {folder} --watch    tells while you edit what a gate will say")
    return 0


def _filled(file: Path, name: str, author: Author) -> bytes:
    if file.name == "README.md":
        return file.read_bytes().replace(b"# NAME", f"# {name}".encode(errors="replace"))
    if file.name != "submission.json":
        return file.read_bytes()
    stated = json.loads(file.read_text(encoding="utf-8"))
    stated |= {"author": author.name, "github_id": author.github_id, "name": name}
    stated["date"] = datetime.date.today().isoformat()
    return (json.dumps(stated, indent=2) + "\n").encode()
