"""The ledger of a track: `rules/records/<track>.yaml`, the records and their seeds."""

import datetime
from statistics import fmean, stdev
from typing import Literal, Self

from pydantic import Field, model_validator

from verifier.schemas.base import StrictModel


class TokenizerFamily(StrictModel):
    """What a full evaluation scores with one tokenizer; turns nats a token into BPB."""

    tokens: int = Field(gt=0)
    bytes: int = Field(gt=0)
    source: str


class SeedResult(StrictModel):
    """One run of a record, as its log prints it."""

    seed: int | None = None
    """None where the log names none."""
    val_bpb: float = Field(gt=0)
    artifact_bytes: int | None = Field(default=None, gt=0)
    train_seconds: float | None = Field(default=None, gt=0)
    """The training loop, without calibration and serialisation."""
    eval_seconds: float | None = Field(default=None, gt=0)
    """The scoring, without compile warm-up."""
    source: str
    """The log, within the record's folder."""
    note: str | None = None


class Record(StrictModel):
    """A submission that was merged or stood on the leaderboard."""

    pr: int | None
    """None for the organisers' own runs."""
    date: datetime.date
    folder: str
    title: str
    status: Literal["accepted", "disputed", "superseded", "off_board"]
    """accepted: a bar for later rows; disputed: on the board, but its own evidence or a rerun
    contradicts it; superseded: replaced by a row that completes it; off_board: merged only."""
    reason: str | None = None
    """Why it is not simply accepted."""
    family: str
    claimed_bpb: float | None = None
    """The score of its submission.json."""
    source: str
    note: str | None = None
    seeds: tuple[SeedResult, ...] = ()
    """The runs that carry the claim."""
    other_runs: tuple[SeedResult, ...] = ()
    """Reruns, earlier versions and seeds that were left out of the claim."""

    @property
    def seed_bpbs(self) -> tuple[float, ...]:
        """The claim's raw scores, in the order of the file."""
        return tuple(result.val_bpb for result in self.seeds)

    @property
    def mean_bpb(self) -> float | None:
        """The mean over the claim's seeds; None where no log carries a score."""
        return fmean(self.seed_bpbs) if self.seeds else None

    @property
    def std_bpb(self) -> float | None:
        """The sample standard deviation (ddof 1); None below two seeds."""
        return stdev(self.seed_bpbs) if len(self.seeds) > 1 else None

    @property
    def name(self) -> str:
        """How reports call it."""
        return self.folder if self.pr is None else f"PR {self.pr}"


class Ledger(StrictModel):
    """All records of a track, in order of precedence."""

    track: str
    source: str
    families: dict[str, TokenizerFamily]
    records: tuple[Record, ...]

    @model_validator(mode="after")
    def _rows_fit_together(self) -> Self:
        folders = [record.folder for record in self.records]
        mistakes = [
            *(f"{f}: listed twice" for f in sorted({f for f in folders if folders.count(f) > 1})),
            *(
                f"{record.folder}: no family {record.family!r} above"
                for record in self.records
                if record.family not in self.families
            ),
            *(
                f"{record.folder}: status {record.status} needs a reason"
                for record in self.records
                if record.status != "accepted" and not record.reason
            ),
            *(
                f"{after.folder}: dated before the row above it"
                for before, after in zip(self.records, self.records[1:], strict=False)
                if after.date < before.date
            ),
        ]
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self
