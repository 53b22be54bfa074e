"""How one artifact did on validation documents and on fresh ones; part of the evidence."""

from typing import Literal

from verifier.schemas.base import StrictModel

PartName = Literal["beginnings", "rests"]
"""Of documents: their first 1,024 tokens, and what comes behind in those that were left whole."""


class FreshRecord(StrictModel):
    """Validation documents and fresh ones, scored together on one tape in a drawn order."""

    source: str
    """What the fresh documents were read from."""
    source_sha256: str
    secret: str
    """Seed of all draws in hexadecimal digits; unknown to anyone until the run is over."""
    not_evaluated: str | None = None
    """Why nothing was compared."""
    transform: str | None = None
    """What was done to text before it became tokens, as both kinds of documents bear out."""
    num_validation: int = 0
    num_fresh: int = 0
    """Documents of either kind whose every token was scored."""
    part: PartName | None = None
    """The part of documents that stands out more; all below is of it."""
    validation_bpb: float | None = None
    fresh_bpb: float | None = None
    """As they are; the next three are of what text that a table of pairs finds as hard leaves."""
    gap_bpb: float | None = None
    """By how much fresh documents are harder than validation documents."""
    error_bpb: float | None = None
    """Its standard deviation where labels are drawn."""
    p_value: float | None = None
    """Share of drawn labels that make as large a gap, the real ones included; where both parts were
    asked, divided by the part's share of the false alarms."""
    num_retold: int = 0
    """Raw documents whose tokens do not give their text back."""
    text_bytes_low: int | None = None
    text_bytes_high: int | None = None
    """Of the text that was scored; a document that was scored in part counts not at all, or all."""
    sidecar_bytes: int | None = None
    sidecar_text_bytes: int | None = None
    """Of the drawn validation documents, whole: by the data's own sidecar, and by their text."""
    implied_bytes_low: float | None = None
    implied_bytes_high: float | None = None
    """What its printed loss and BPB of this tape make, within their rounding."""
    wall_seconds: float = 0.0
