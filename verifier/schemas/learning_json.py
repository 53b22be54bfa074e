"""How a run learned, as its log tells it: thinned for the reports, decided on by nothing."""

from verifier.schemas.base import StrictModel


class Learning(StrictModel):
    """The training loss on its way down, and the score before and after the weights are packed."""

    points: tuple[tuple[int, float], ...] = ()
    """Step and training loss (nats a token), thinned."""
    raw_bpb: float | None = None
    """Of the last weights before quantisation."""
    quantised_bpb: float | None = None
    """The first score after that."""
