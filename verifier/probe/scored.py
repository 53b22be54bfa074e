"""What came of scoring one tape, and whether its losses can be used."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verifier.claims.log_lines import FinalMetric
from verifier.probe.tapes.variants import Variant
from verifier.probe.turns import Turns
from verifier.runs.scores import MAX_TAIL_TOKENS
from verifier.schemas.probe_record_json import LedgerRecord

MAX_NATS = 1e9
"""Stands for infinity in files, which hold finite numbers."""
Losses = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """What came of scoring one tape."""

    losses: NDArray[np.float32] | None  # (M,) or fewer: a rest may be left out
    detail: str
    """How the run ended."""
    wall_seconds: float
    ledger: LedgerRecord | None = None
    """Where they were noted by the instrument."""
    noted_at: NDArray[np.int64] | None = None
    """(M,) and the how-manieth of its notes each loss is."""
    final: FinalMetric | None = None
    """What it printed of the tape."""
    turns: Turns | None = None
    """In which order it says that it scored."""


def usable(variant: Variant, scored: Scored) -> tuple[Losses | None, str]:
    """A loss a target in the order of the tape, as float64; or why these are not."""
    losses, num_targets = scored.losses, len(variant.tokens) - 1
    if losses is None:
        return None, f"it wrote no losses: {scored.detail}"
    if not 0 <= num_targets - len(losses) < MAX_TAIL_TOKENS or not len(losses):
        return None, f"it wrote {len(losses):,} losses of {num_targets:,} tokens"
    if np.isnan(losses).any() or (losses < 0).any():
        return None, "a loss is no number or below zero"
    return np.minimum(losses.astype(np.float64), MAX_NATS), ""
