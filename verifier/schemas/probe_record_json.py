"""What probes of a script's evaluation showed; part of the evidence."""

from typing import Literal

from verifier.schemas.base import StrictModel

VariantKind = Literal[
    "base",
    "repeat",
    "spliced",
    "changed",
    "flip",
    "poison",
    "shuffled",
    "alone",
    "neighbours",
    "training",
    "fresh",
    "canaries",
    "sampled",
]


class MoveRecord(StrictModel):
    """How the losses of one changed tape differ from those of the sample."""

    kind: VariantKind
    name: str
    """Its folder below `probe/` in the run directory; changes in several documents share one."""
    wall_seconds: float
    """Of the whole tape."""
    not_scored: str | None = None
    """Why there are no losses to compare."""
    cut: int | None = None
    """The first token that was changed in its document."""
    in_document_nats: float | None = None
    """The largest move of a loss before the cut, in the cut's own document."""
    distance_tokens: int | None = None
    """How far before the cut that loss lies."""
    earlier_nats: float | None = None
    """The largest move of a loss in earlier documents: those before the cut's in the text, or those
    without a change that were scored before any change, by the order that the script tells."""
    num_held: int | None = None
    """Losses in them."""
    by_told_order: bool = False
    """Whether the script told the same order of scoring for the sample and for this tape."""
    own_nats: float | None = None
    """The move of the changed token's own loss, which should move."""
    largest_nats: float | None = None
    """The largest move of all losses but those of documents' starts; where only some documents keep
    their words, of these."""
    mean_nats: float | None = None
    """The mean loss of the same targets, less that in the sample."""


class LedgerRecord(StrictModel):
    """What an instrument inside the script's process noted; it can speak against a script only."""

    not_evaluated: str | None = None
    """Why no pass over the text is known to be the one that counts."""
    printed_nats: float | None = None
    num_noted: int = 0
    """Losses of validation tokens that PyTorch computed, in all passes."""
    num_scored: int = 0
    """Tokens of the pass whose mean was printed."""
    num_steps: int = 0
    """Optimizer steps before its end."""
    num_learned_before: int = 0
    """Tokens of it that an optimizer step had learned before they were scored."""
    first_learned_before: int | None = None
    largest_log_sum: float = 0.0
    """Of probabilities over the vocabulary that were handed over as logarithms."""
    is_best_of_several: bool = False
    """Whether what was printed is the mean of each token's least loss."""


class OverlapRecord(StrictModel):
    """Validation documents that were looked for in the training data."""

    num_documents: int
    """Long enough to be told from others."""
    num_found: int
    """Which stand in the training data word for word, or half of their sampled runs, or more."""
    num_same: int = 0
    """Of these, word for word."""
    num_runs: int
    num_runs_found: int
    searched_tokens: int
    training_tokens: int


class ProbeRecord(StrictModel):
    """A script's losses on a sample and on changed copies of it."""

    secret: str
    """Seed of all draws in hexadecimal digits; unknown to anyone until the run is over."""
    not_evaluated: str | None = None
    """Why the losses tell nothing."""
    how: str = ""
    """What was run to get the losses of a tape."""
    sample_begin: int = 0
    num_targets: int = 0
    num_documents: int = 0
    promises_alone: bool = False
    """Whether its contract says that each document is scored by itself."""
    promises_apart: bool = False
    """Whether it says, or so, that the words of one document change nothing in another."""
    is_noted_inside: bool = False
    """Whether the losses came through an instrument in the script's process, which it can fool."""
    num_losses: int | None = None
    """Losses that it wrote of the sample; None where it wrote none."""
    planned_evaluations: int = 0
    """Scorings of a tape that were foreseen, the sample's and the instrument's among them."""
    num_evaluations: int = 0
    """Those that were made: more where something moved, and was asked again."""
    base_seconds: float | None = None
    """Of scoring the sample."""
    tapes_seconds: float = 0.0
    """Of scoring all tapes."""
    noise_nats: float | None = None
    """The largest difference of a loss between two scorings of the same tape; None where nothing
    moved that must not, so that there is nothing for noise to explain."""
    num_spliced: int = 0
    vocabulary_sum: float | None = None
    """What the probabilities before single drawn tokens add up to, on average, over the words that
    occur in the sample; what a script gives to other words is missing."""
    vocabulary_error: float | None = None
    """Its standard error."""
    vocabulary_odds_nats: float | None = None
    """The most that bets on drawn tokens won."""
    deaf_from: int | None = None
    """Where the longest stretch begins in which drawn tokens keep their losses, or have
    their neighbours'."""
    deaf_drawn: int = 0
    """How many drawn tokens lie in it."""
    over_training_nats: float | None = None
    """How much higher the mean loss of the sample is than that of documents to train on."""
    over_training_error: float | None = None
    """Its standard error, over documents."""
    num_canaries: int = 0
    """Made-up documents of which a copy was scored."""
    canary_odds_nats: float | None = None
    """What bets on their worst known copies won."""
    canary_bits: float | None = None
    """By how much the middle one was known before it was shown, in all its copies."""
    num_blocks: int = 0
    """Of neighbouring documents, each once in its own order and once rearranged."""
    order_p: float | None = None
    """Share of drawn coins that favour the own order as much."""
    order_gain_nats: float | None = None
    """By how much the mean loss of rearranged blocks is higher."""
    overlap: OverlapRecord | None = None
    """Of the track's data as they lie here, not of the small copy that is probed."""
    moves: tuple[MoveRecord, ...] = ()
    ledger: LedgerRecord | None = None
    """Of the sample's scoring with the instrument inside."""
