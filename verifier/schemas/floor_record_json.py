"""What a run on a world of known entropy showed; part of the evidence."""

from typing import Literal

from verifier.schemas.base import StrictModel

SourceKind = Literal["zipf", "markov"]


class WorldRecord(StrictModel):
    """All that determines a world; drawing it again gives the same files."""

    source: SourceKind
    secret: str
    """Seed of its random numbers in hexadecimal digits; unknown to anyone until the run is over."""
    vocab_size: int
    document_tokens: int
    training_tokens: int
    num_targets: int
    """Tokens of the validation tape that are scored: all but the first."""
    num_bytes: int
    floor_nats: float
    """L*: −ln P of the tape."""
