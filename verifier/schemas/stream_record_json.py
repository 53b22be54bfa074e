"""What a score of our own showed, made while tokens were shown one by one; part of the evidence."""

from verifier.schemas.base import StrictModel

NO_STREAM = "pgolf.yaml offers no stream"


class DecodeRecord(StrictModel):
    """The same text compressed through the submission, and back by a second cold start of it."""

    num_targets: int
    code_bytes: int
    """Of all sessions' codes together."""
    score_bytes: float
    """The score of the same targets, in bytes."""
    first_difference: int | None
    """Targets that came back before the first wrong one; None where all came back."""
    broken: str | None = None
    """How the second start broke off."""
    wall_seconds: float


class StreamRecord(StrictModel):
    """One seed's artifact, scored by the harness token by token."""

    seed: int
    secret: str
    """Seed of the drawing in hexadecimal digits; unknown to anyone until the run is over."""
    not_evaluated: str | None = None
    """Why there was no streaming."""
    broken: str | None = None
    """How the submission broke the protocol; what was scored before counts for nothing."""
    tape_targets: int = 0
    """Of the whole validation data."""
    num_drawn: int = 0
    """Targets that were to be streamed; more than those that were, where time ran out."""
    num_targets: int = 0
    num_pieces: int = 0
    num_documents: int = 0
    """That the streamed targets lie in."""
    num_sessions: int = 0
    """Cold starts, so that none was shown what another one was asked."""
    vocabulary: int = 0
    loss_nats: float | None = None
    """Our mean over the streamed targets."""
    bits_per_byte: float | None = None
    """Where every target of the validation data was streamed and the track knows its bytes."""
    largest_excess_nats: float = 0.0
    """The most by which ln of a distribution's sum was not zero."""
    num_compared: int = 0
    """Streamed targets whose loss its own evaluation wrote too."""
    evaluated_nats: float | None = None
    """The mean that it wrote for them."""
    gain_nats: float | None = None
    """The mean by which its own losses are lower than ours."""
    gain_error_nats: float | None = None
    """Standard error of that mean, over pieces."""
    largest_gain_nats: float | None = None
    largest_difference_nats: float | None = None
    median_difference_nats: float | None = None
    """Of the differences' sizes, target by target."""
    wall_seconds: float = 0.0
    """Of all sessions, starts included."""
    predicting_seconds: float = 0.0
    """From each session's first answer to its last."""
    decoded: DecodeRecord | None = None
