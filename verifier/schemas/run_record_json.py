"""What a run directory holds: `plan.json`, `seed_<n>/measurement.json`, `evidence.json`."""

import datetime
from typing import Literal

from pydantic import Field

from verifier.endings import Ending, Grade
from verifier.schemas.base import StrictModel
from verifier.schemas.floor_record_json import FloorRecord
from verifier.schemas.fresh_record_json import FreshRecord
from verifier.schemas.learning_json import Learning
from verifier.schemas.probe_record_json import ProbeRecord
from verifier.schemas.rule_record_json import RuleRecord
from verifier.schemas.sampled_record_json import SampledRecord
from verifier.schemas.stream_record_json import StreamRecord

Rung = Literal["paper", "rehearsal", "floor", "probe", "rerun", "stream"]
ScoreOrigin = Literal["streamed", "token_losses", "printed", "none"]
SeedOutcome = Literal["completed", "violation", "crash", "infrastructure"]
SMALL_RUNGS: tuple[Rung, ...] = ("rehearsal", "floor", "probe")
"""Small runs on any machine: the track's budgets are not for them, only a hard limit is."""


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


class StreamPlan(StrictModel):
    """How a submission predicts while the harness shows it token after token."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    piece_tokens: int | None
    """Targets of a piece that is predicted by itself; None: each document is one."""
    context_tokens: int
    num_lanes: int


class TextPlan(StrictModel):
    """How a submission changes text before it becomes tokens, and changes it back."""

    apply: tuple[str, ...]
    restore: tuple[str, ...]
    environment: dict[str, str]


class EvaluationPlan(StrictModel):
    """How a submission that keeps evaluation apart from training is evaluated: a cold start."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    artifact: tuple[str, ...]
    """Files of the training folder that evaluation gets; nothing else of it survives."""
    code: tuple[str, ...]
    stream: StreamPlan | None = None
    """Where the submission offers that."""
    text: TextPlan | None = None
    """Where it says so."""


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
    evaluation: EvaluationPlan | None = None
    """None where one process trains and evaluates; else `argv` and `environment` only train."""
    retries: int = 1
    """How often a seed is run again when the machine, not the submission, failed it."""
    replicated_seeds: tuple[int, ...] = ()
    """Seeds of the author that are run beside the assigned ones, to check his logs."""
    independence: bool = False
    """Whether the first seed is trained once more beside other validation data."""


class Phases(StrictModel):
    """Seconds on our own clock, from outside the process; None where no line marks the phase."""

    start: float | None = None
    """Launch to the first training step: imports, loading, compile warm-up."""
    training: float | None = None
    """First to last training step, without validation."""
    validation: float | None = None
    """What passed among the training steps before lines that tell a validation's score, less what
    the script's own training clock went on meanwhile; None where no such line is."""
    calibration: float | None = None
    """Part of what lies between training and the artifact: to the line that times calibration from
    the line before it."""
    serialise: float | None = None
    """Last training step to the line that gives the artifact's size, or to the process's end."""
    load: float | None = None
    """Evaluation's cold start to its first look at validation data; None where not apart."""
    evaluation: float | None = None
    """From there, else from the artifact's size, to the final metric."""
    finish: float | None = None


class CodeBytes(StrictModel):
    """The code's size under each byte convention; None where it could not be measured."""

    as_logged: int | None
    """What the script printed in our run."""
    literal: int | None
    """The main script as shipped, the scripts that it reaches and the files that they name."""
    every_file_opened: int | None = None
    """The same with tokenizers, which nobody has counted in practice."""
    rebuilt_wrapper: int | None = None
    """The same as literal, each script packed by us (packing.py); at most this, not exactly."""


class TokenLosses(StrictModel):
    """The file of per-token losses that a run wrote, good or bad."""

    num_losses: int
    num_tokens: int
    """Targets that the validation data has."""
    mean_nats: float | None
    """None where a loss is negative, infinite or no number."""
    all_alike: bool


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
    """Made by us token by token, recomputed from per-token losses, or printed by the script."""
    script_val_bpb: float | None = None
    """What it printed, whichever counts."""
    token_losses: TokenLosses | None = None
    score_line: int | None
    scored_tokens: int | None
    implied_bytes: float | None
    num_steps: int | None
    num_validations: int = 0
    """Lines among the training steps that tell a validation's score."""
    start_gpu_seconds: float | None = None
    """How long a GPU worked before the first step was told, on average; None without GPUs."""
    peak_memory_bytes: int
    output_bytes: int
    log_sha256: str
    learning: Learning | None = None
    losses_sha256: str | None = None
    """Over every training loss that it printed, with its step; None where it printed none."""
    first_losses: tuple[float, ...] = ()
    """The first few of them, in nats."""
    loss_per_log_step: float | None = None
    """Slope of the training loss over the logarithm of the step, in the later half: nats."""
    artifact_sha256: str | None = None
    cold_start: "ColdStart | None" = None
    """What evaluation was given and what it opened; None where it was no process of its own."""
    attempts: tuple["Attempt", ...] = ()
    """Earlier attempts at this seed that the machine failed, none of them scored."""


class ColdStart(StrictModel):
    """Evaluation in a fresh sandbox: what it could open, what it did, what it changed."""

    given: tuple[str, ...]
    """Every file of its working folder when it started: code and artifact."""
    data: tuple[str, ...]
    """Data files that it opened, by their name in the data folder."""
    packages: tuple[str, ...]
    """Installed packages with files that were opened while it ran, with their versions."""
    uncounted: tuple[str, ...]
    """Files that it opened and that are neither data, code, artifact nor an installed package."""
    is_complete: bool
    """False where the kernel lost count of what was opened, or cannot tell."""
    rewritten: tuple[str, ...]
    """Artifact and code files that were not what they had been when evaluation was over."""


class Attempt(StrictModel):
    """One attempt at a seed that does not count: the machine failed it, or we were stopped."""

    outcome: SeedOutcome
    reason: str
    wall_seconds: float | None
    """None where the harness itself was stopped."""


class AttemptLog(StrictModel):
    """The attempts at one seed that do not count, written before the next one starts."""

    attempts: tuple[Attempt, ...]


class Mutation(StrictModel):
    """Evaluation of one seed replayed on artifacts that are not its own."""

    seed: int
    val_bpb: float
    """Its score with its own artifact."""
    kind: Literal["corrupted", "other_seed"]
    mutated_bpb: float | None
    """None where evaluation refused the artifact."""
    detail: str


class Independence(StrictModel):
    """One seed trained twice beside different validation data."""

    seed: int
    num_losses: int
    """Steps whose training loss both runs printed."""
    first_step: int | None
    """The first of them at which the losses differ; None where all agree."""
    largest_gap_nats: float
    is_same_artifact: bool | None = None
    """Byte for byte; None where not both runs left one that was found."""


class HostReport(StrictModel):
    """The machine that measured."""

    hostname: str
    cpu: str
    num_cpus: int
    memory_bytes: int
    gpus: tuple[str, ...]
    driver: str | None = None
    python: str
    torch: str | None
    meets_track: bool


class SeedClaimed(StrictModel):
    """What one log of the folder says of its run."""

    seed: int | None
    val_bpb: float | None
    num_steps: int | None = None
    losses_sha256: str | None = None
    """Over every training loss, as of a measurement."""
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
    learning: Learning | None = None


class ClaimedValues(StrictModel):
    """What the folder says as a whole."""

    val_bpb: float | None
    val_bpb_std: float | None
    bytes_total: int | None
    code_bytes: CodeBytes = CodeBytes(as_logged=None, literal=None)
    """What the folder ships; None where unclear. What its logs counted stands with each seed."""
    date: datetime.date | None = None
    """As submission.json gives it, else as the folder's name begins."""
    claimed_bpbs: tuple[float, ...] = ()
    """One score a seed that stands behind the claim."""
    scored_tokens: int | None = None
    implied_bytes: float | None = None
    """What tokens, loss and BPB of a log imply; decides what a margin in nats means in BPB."""
    nats_per_bpb: float | None = None
    """The claimed score's loss (nats a token) over its BPB, as printed: the same, uncounted."""
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
    replications: tuple[SeedMeasurement, ...] = ()
    """Runs of the author's seeds: they check his logs and count in no test."""
    mutations: tuple[Mutation, ...] = ()
    independence: Independence | None = None
    floor: FloorRecord | None = None
    """What the run showed, where it was on a world of known entropy."""
    probe: ProbeRecord | None = None
    """What its evaluation made of changed tapes, where it was probed."""
    streams: tuple[StreamRecord, ...] = ()
    """A seed each, where we scored them token by token."""
    sampled: SampledRecord | None = None
    """What its evaluation made of a text that its own predictor wrote."""
    fresh: FreshRecord | None = None
    """What its artifact made of documents that nobody was shown, where a reviewer brought some."""
    guarantees: tuple[Guarantee, ...]
    host: HostReport
