"""One rule: `rules/<offence>.yaml`."""

import datetime
from typing import Literal

from pydantic import Field

from verifier.findings import Severity
from verifier.schemas.base import StrictModel

ViolationClass = Literal[
    "non_normalized",
    "not_causal_target_leak",
    "train_then_score",
    "multi_epoch_rescore",
    "val_in_training",
    "calibration_on_val_or_train_at_eval",
    "byte_count_bug",
    "partial_val_coverage",
    "oversize_artifact",
    "over_time_train",
    "over_time_eval",
    "missing_files",
    "insufficient_significance",
    "seed_cherry_pick",
    "external_data",
    "other",
]


class Rule(StrictModel):
    """A clause of the challenge, named for its offence."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    stage: Literal["static", "evidence"]
    """static: read off the folder; evidence: decided by what our runs measured."""
    decided_from: Literal["rehearsal", "floor", "probe", "rerun"] = "rerun"
    """The lowest rung whose runs are large enough to decide an evidence rule."""
    severity: Severity
    since: datetime.date
    condition: Literal["C1", "C2", "C3", "C4", "data", "bytes", "size", "clock", "evidence"]
    violation_class: ViolationClass
    what: str
    why: str
    example: str
    mend: str = ""
    """What an author does about it."""
    source: str
    parameters: dict[str, float] = {}
