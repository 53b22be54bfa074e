"""One track: `rules/tracks/<track>.yaml`, its limits, data, launch contract and rules."""

from typing import Literal

from pydantic import Field

from verifier.findings import Severity
from verifier.schemas.base import Quantity, StrictModel
from verifier.schemas.floor_record_json import SourceKind


class Hardware(StrictModel):
    """What a re-run needs to count."""

    num_gpus: int
    gpu_name: str | None = None
    """A part of the name that the driver reports for each GPU."""
    source: str


class Limits(StrictModel):
    """Budgets of one seed. Soft limits are rules; hard ones end the process."""

    artifact_bytes: Quantity
    train_seconds: Quantity
    train_overrun_seconds: Quantity
    """How late the last step may end: about one step."""
    eval_seconds: Quantity
    hard_wall_seconds: Quantity
    memory_bytes: Quantity
    scratch_bytes: Quantity
    output_bytes: Quantity
    num_processes: Quantity


class ShardPin(StrictModel):
    """A data file and the hash it must have."""

    path: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class DatasetFamily(StrictModel):
    """What a full evaluation scores with one tokenizer."""

    tokenizer: str
    scored_tokens: int
    scored_bytes: int | None = None
    """None where the public logs do not pin it to the byte."""
    source: str


class Dataset(StrictModel):
    """Where the track's data lies below `--data`, and how it is recognised."""

    default_folder: str
    mend: str
    """The command that brings the data to `default_folder`."""
    families: tuple[DatasetFamily, ...]
    pins: tuple[ShardPin, ...] = ()

    def scored_bytes(self, scored_tokens: int | None) -> int | None:
        """Bytes of the text that so many tokens stand for; None where no family pins them."""
        pinned = (f.scored_bytes for f in self.families if f.scored_tokens == scored_tokens)
        return next(pinned, None)


class Launch(StrictModel):
    """How a seed is started inside the sandbox."""

    launcher: Literal["torchrun", "python"]
    num_processes: int = Field(ge=1)
    environment: dict[str, str] = {}
    """Set before the run command's own assignments."""
    source: str


class Rehearsal(StrictModel):
    """A run of one seed that is small enough for a CPU or one GPU."""

    environment: dict[str, str]
    """Set over the run command's own values; names that public scripts share."""
    probe_environment: dict[str, str]
    """Set over these on the rung 'probe', which sets runs against each other."""
    wall_seconds: Quantity
    """The end of the one seed, whatever it does."""
    probe_wall_seconds: Quantity
    """The same on the rung 'probe', which has whatever adapts to its text score all of it."""
    training_tokens: Quantity
    validation_tokens: Quantity
    """Data with more tokens is cut to so many."""


class Floor(StrictModel):
    """A short run on a world of known entropy."""

    source: SourceKind
    environment: dict[str, str]
    """Set over the run command's own values, as in a rehearsal."""
    train_minutes: Quantity
    """What MAX_WALLCLOCK_SECONDS is set to; --floor-minutes overrides it."""
    other_seconds: Quantity
    """For everything else until the harness ends the run: start, compilation, packing, scoring."""
    vocab_size: Quantity
    """Where neither the user, nor the run command, nor the script names one."""
    document_tokens: Quantity
    training_tokens: Quantity
    validation_tokens: Quantity
    tolerance_nats: Quantity
    """By how much a token's probabilities may fail to add up to one before it counts."""


class Stream(StrictModel):
    """How much is scored token by token, and how long that may take."""

    targets: Quantity
    """In pieces drawn at random until they hold so many; more than the tape has means all."""
    piece_targets: Quantity
    """Of one piece at most; the rest of a longer one is left out."""
    first_answer_seconds: Quantity
    answer_seconds: Quantity
    most_seconds: Quantity
    """Of one seed's scoring; what is left then is left out, behind a round of pieces."""


class Track(StrictModel):
    """Everything that the referee holds a submission to on one track."""

    id: str
    title: str
    claims_record: bool
    """Whether a submission must beat the prior record."""
    hardware: Hardware
    limits: Limits
    min_seeds: Quantity
    dataset: Dataset
    launch: Launch
    rehearsal: Rehearsal
    floor: Floor
    stream: Stream
    required_files: tuple[str, ...]
    """Kinds that a folder must hold: readme, metadata, script, log."""
    ledger_pooled_std_bpb: Quantity
    ledger_degrees_of_freedom: Quantity
    rules: dict[str, Severity]
