"""What a run directory holds: `plan.json`, `seed_<n>/measurement.json`, `evidence.json`."""

import datetime
from typing import Literal

from pydantic import Field

from verifier.endings import Ending, Grade
from verifier.schemas.base import StrictModel
from verifier.schemas.rule_record_json import RuleRecord

Rung = Literal["paper", "rehearsal", "floor", "probe", "rerun", "stream"]
ScoreOrigin = Literal["token_losses", "printed", "none"]
SeedOutcome = Literal["completed", "violation", "crash", "infrastructure"]


class Guarantee(StrictModel):
    """What the sandbox held against the submission, and how we know."""

    name: str
    grade: Grade
    detail: str


class DataFile(StrictModel):
    """One data file that the runs could see."""

    path: str
    num_bytes: int
    sha256: str | None
    """None where hashing was skipped because nothing pins the file."""
    num_tokens: int | None = None


class RunPlan(StrictModel):
    """All that determines the runs; its hash names the run directory."""

    schema_version: Literal[1] = 1
    verifier_version: str
    submission: str
    submission_sha256: str
    commit: str | None
    track: str
    track_sha256: str
    profile: str
    against: str | None
    rung: Rung
    seeds: tuple[int, ...] = Field(min_length=1)
    seeds_assigned: bool
    """True when derived from the submission's hash, False when the user named them."""
    argv: tuple[str, ...]
    environment: dict[str, str]
    environment_origin: str
    data_folder: str
    data: tuple[DataFile, ...]
    sandbox: str


class Phases(StrictModel):
    """Seconds on our own clock, from outside the process; None where no line marks the phase."""

    start: float | None = None
    """Launch to the first training step: imports, loading, compile warm-up."""
    training: float | None = None
    """First to last training step."""
    serialise: float | None = None
    """Last training step to the line that gives the artifact's size."""
    evaluation: float | None = None
    """That line to the final metric: loading, compile warm-up and scoring."""
    finish: float | None = None


class CodeBytes(StrictModel):
    """The code's size under each byte convention; None where it could not be measured."""

    as_logged: int | None
    """What the script printed in our run."""
    literal: int | None
    """The scripts of the folder that the run command starts or the main script imports."""
    every_file_opened: int | None = None
    rebuilt_wrapper: int | None = None


class SeedMeasurement(StrictModel):
    """What we saw of one seed, from outside; script_* are the script's own words in our run."""

    seed: int
    outcome: SeedOutcome
    ending: Ending
    detail: str
    exit_code: int | None
    wall_seconds: float
    phases: Phases
    script_train_seconds: float | None
    script_calibration_seconds: float | None
    script_eval_seconds: float | None
    script_seed: int | None
    artifact_file: str | None
    artifact_bytes: int | None
    """Size of the artifact file as it lay on our disk."""
    script_artifact_bytes: int | None
    code_bytes: CodeBytes
    val_bpb: float | None
    val_loss_nats: float | None
    score_origin: ScoreOrigin
    """Recomputed by us from per-token losses, or printed by the script in our run."""
    score_line: int | None
    scored_tokens: int | None
    implied_bytes: float | None
    num_steps: int | None
    peak_memory_bytes: int
    output_bytes: int
    log_sha256: str


class HostReport(StrictModel):
    """The machine that measured."""

    hostname: str
    cpu: str
    num_cpus: int
    memory_bytes: int
    gpus: tuple[str, ...]
    python: str
    torch: str | None
    meets_track: bool


class SeedClaimed(StrictModel):
    """What one log of the folder says of its run."""

    seed: int | None
    val_bpb: float | None
    total_bytes: int | None
    """Code and model as the log adds them up."""
    model_bytes: int | None
    train_seconds: float | None
    calibration_seconds: float | None
    calibrates_on_data: bool = False
    """Whether it says that it gathers data for the quantiser, timed or not."""
    compile_warmup_seconds: float | None
    eval_seconds: float | None
    serialize_seconds: float | None = None
    deserialize_seconds: float | None = None
    source: str
    lines: dict[str, int] = {}
    """Field → the line of the log that it was read from."""


class ClaimedValues(StrictModel):
    """What the folder says as a whole."""

    val_bpb: float | None
    val_bpb_std: float | None
    bytes_total: int | None
    code_bytes: int | None = None
    """The code that the folder ships: main script and what it needs; None where unclear."""
    date: datetime.date | None = None
    """As submission.json gives it, else as the folder's name begins."""
    claimed_bpbs: tuple[float, ...] = ()
    """One score a seed that stands behind the claim."""
    scored_tokens: int | None = None
    implied_bytes: float | None = None
    """What tokens, loss and BPB of a log imply; decides what a margin in nats means in BPB."""
    seeds: tuple[SeedClaimed, ...] = ()


class Evidence(StrictModel):
    """Claims and measurements side by side; all that a verdict may rest on."""

    schema_version: Literal[1] = 1
    plan: RunPlan
    submission_date: datetime.date | None
    """As submission.json gives it; decides which record was the prior one."""
    claims: ClaimedValues
    paper: tuple[RuleRecord, ...]
    """The static rules' answers, so that a verdict needs the folder no more."""
    unread: tuple[str, ...] = ()
    measurements: tuple[SeedMeasurement, ...]
    guarantees: tuple[Guarantee, ...]
    host: HostReport
