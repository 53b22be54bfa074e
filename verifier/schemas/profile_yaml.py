"""One rule profile: `rules/profiles/<profile>.yaml`, a reading of the rules that was in force."""

import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from verifier.endings import Grade
from verifier.errors import RulebookError
from verifier.schemas.base import StrictModel
from verifier.schemas.yaml_file import read_yaml

GuaranteeName = Literal[
    "network",
    "file_writes",
    "secrets",
    "validation_hidden_in_training",
    "training_hidden_in_evaluation",
    "process_leaks",
    "memory",
    "clock_outside",
    "score",
]

ByteCount = Literal["as_logged", "literal", "every_file_opened", "rebuilt_wrapper"]
"""Which bytes of code count beside the model; CodeBytes says what each of them is."""


class Margin(StrictModel):
    """By how much a record must beat the prior one."""

    value: float = Field(ge=0)
    unit: Literal["nats_per_token"]
    """Tokens of the challenger's own tokenizer; the same nats are another BPB for each."""


class Profile(StrictModel):
    """The conventions on which the challenge's own practice differed."""

    id: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    """The file's name without its ending."""
    title: str
    """One line for the table of profiles."""
    since: datetime.date
    """The day from which it was applied."""
    source: str
    """The public text or change that it is read from."""
    test: Literal["welch"]
    """The test that decides."""
    margin: Margin
    """The part of the gain that does not count."""
    alpha: float = Field(gt=0, lt=1)
    """A record is significant when its p-value is below this."""
    clock: Literal["loop", "loop_plus_calibration", "everything"]
    """What the training budget covers."""
    byte_count: ByteCount
    """Which bytes of code count beside the compressed model."""
    minimum_guarantees: dict[GuaranteeName, Grade] = {}
    """The least that a run must guarantee to decide; a name left out may be absent."""


def load_profiles(folder: Path) -> dict[str, Profile]:
    """Every profile of a folder by its id, the strictest level of significance first.

    Raises:
        RulebookError: a file breaks the schema, is not named for its id, or there is none.
    """
    paths = sorted(folder.glob("*.yaml"))
    profiles = [read_yaml(path, Profile) for path in paths]
    for path, profile in zip(paths, profiles, strict=True):
        if path.stem != profile.id:
            raise RulebookError(f"{path}: holds the profile {profile.id!r}; rename one of the two")
    if not profiles:
        raise RulebookError(f"{folder}: no profiles (*.yaml) here; the installation is incomplete")
    return {profile.id: profile for profile in sorted(profiles, key=lambda p: (p.alpha, p.since))}
