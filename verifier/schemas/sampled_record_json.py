"""What an evaluation made of a text that its own model was let write; part of the evidence."""

from verifier.schemas.base import StrictModel


class SampledRecord(StrictModel):
    """A tape drawn from a submission's own distributions, scored by its evaluation."""

    seed: int
    secret: str
    """Seed of the drawing in hexadecimal digits; unknown to anyone until the run is over."""
    not_evaluated: str | None = None
    """Why nothing was drawn or scored."""
    num_targets: int = 0
    """Drawn tokens that its evaluation scored."""
    entropy_nats: float | None = None
    """Mean of −ln of their probabilities, as they were drawn."""
    expected_nats: float | None = None
    """Mean entropy of the distributions that they were drawn from; the same but for luck."""
    evaluated_nats: float | None = None
    """Mean loss that its evaluation wrote for them."""
    total_odds_nats: float | None = None
    """Nats by which all of them together were coded in less than they have."""
    betting_odds_nats: float | None = None
    """The most that bets on single tokens won."""
    wall_seconds: float = 0.0
