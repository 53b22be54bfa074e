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
    num_parameters: int
    """Probabilities in the source's table."""

    @property
    def hindsight_nats(self) -> float:
        """How far below −ln P the table comes that fits the tape best: half a nat a parameter.

        Wilks' theorem: twice the gain in log-likelihood is chi-square with that many degrees.
        """
        return self.num_parameters / 2


class FloorRecord(StrictModel):
    """What a script claimed on a world, against what is possible; odds in nats, e-values' logs."""

    world: WorldRecord
    not_evaluated: str | None = None
    """Why the score tells nothing about the floor; what could be read is told all the same."""
    loss_nats: float | None = None
    """The printed mean, a token."""
    rounding_nats: float | None = None
    """Half a unit of its last digit, a token."""
    stated_tokens: int | None = None
    """How many targets the script says it scored."""
    num_losses: int | None = None
    """How many losses it wrote; None where it wrote none."""
    scored_bytes: int | None = None
    """Bytes of so many targets."""
    implied_bytes_low: float | None = None
    implied_bytes_high: float | None = None
    """What printed loss and BPB imply, with their rounding."""
    total_odds_nats: float | None = None
    """How far the claimed code length of the whole tape lies below its −ln P, rounding and the
    tolerated error of arithmetic granted."""
    betting_odds_nats: float | None = None
    """The most that bets on each token's loss won."""
    betting_path: tuple[tuple[int, float], ...] = ()
    """(tokens, nats): the most that they had won in each stretch of the tape."""
    no_betting: str | None = None
    """Why there were no bets."""

    @property
    def odds_nats(self) -> float | None:
        """The larger of the two."""
        odds = [o for o in (self.total_odds_nats, self.betting_odds_nats) if o is not None]
        return max(odds, default=None)

    @property
    def gap_nats(self) -> float | None:
        """How far the printed loss lies above the entropy, a token."""
        if self.loss_nats is None:
            return None
        return self.loss_nats - self.world.floor_nats / self.world.num_targets
