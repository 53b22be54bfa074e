"""A script's claims about a tape, against the tape: what the evidence says of its floor.

Whatever is unclear is read in the script's favour: printed digits by the end of their rounding that
favours it, and starts of documents as scored or not, because public scripts do either.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verifier.floor.odds import betting_log_odds, total_log_odds
from verifier.floor.source import Tape
from verifier.floor.tokenizer_model import BOS
from verifier.floor.world import World
from verifier.log_lines import FinalMetric
from verifier.schemas.floor_record_json import FloorRecord
from verifier.units import implied_bytes

MAX_TAIL_TOKENS = 4_096
"""Public scripts leave out a rest that is shorter than a sequence; sequences are no longer."""
BLOCK_TOKENS = 2_048
MIN_CORRELATION = 0.5
"""Of losses with −ln P in every block; where they are of other tokens there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claimed:
    """What a completed run left."""

    final: FinalMetric | None
    stated_tokens: int | None
    losses: NDArray[np.float32] | None  # in the order of the tape
    has_read_tape: bool | None
    """Whether the validation shard was opened; None where the kernel could not tell."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowance:
    """What is granted, and what a count can be mistaken for."""

    tolerance_nats: float
    """A token, for the error of arithmetic."""
    known_counts: Sequence[int]
    """Targets of the track's own validation data, which a script may have built in."""


def assess(world: World, claimed: Claimed, allowance: Allowance) -> FloorRecord:
    """All that the claims say about the floor."""
    final, tape = claimed.final, world.tape
    record = FloorRecord(
        world=world.record,
        not_evaluated=_why_not(world, claimed, allowance),
        stated_tokens=claimed.stated_tokens,
        num_losses=None if claimed.losses is None else len(claimed.losses),
    )
    if final is None or final.val_loss is None:
        return record
    rounding = 0.5 * 10.0**-final.loss_decimals
    low, high = _implied_bytes(final, _stated(world, claimed) or tape.num_targets)
    record = record.model_copy(
        update={
            "loss_nats": final.val_loss,
            "rounding_nats": rounding,
            "implied_bytes_low": low,
            "implied_bytes_high": high,
        }
    )
    if record.not_evaluated is not None:
        return record
    losses, no_betting = _aligned(tape, claimed.losses)
    granted = final.val_loss + rounding + allowance.tolerance_nats
    bets = None
    if losses is not None:
        bets = betting_log_odds(tape.surprisal[: len(losses)] - losses - allowance.tolerance_nats)
    return record.model_copy(
        update={
            "total_odds_nats": _total(tape, granted, _stated(world, claimed)),
            "betting_odds_nats": bets,
            "no_betting": no_betting,
        }
    )


def _why_not(world: World, claimed: Claimed, allowance: Allowance) -> str | None:
    """Why what was printed is no claim about the tape."""
    final, num_targets = claimed.final, world.tape.num_targets
    if final is None or final.val_loss is None:
        return "it printed no validation loss"
    if claimed.has_read_tape is False:
        return "it never opened the validation shard that DATA_PATH names"
    stated = _stated(world, claimed)
    if stated is not None and stated > num_targets:
        return (
            f"it says that it scored {stated:,} tokens where the tape has {num_targets:,}: "
            "it reads other data, or its count is built in"
        )
    for count in allowance.known_counts:
        # A sum over the tape divided by a count that is not the tape's.
        if 1 <= final.val_loss * count / world.tape.floor_nats < 2 and count > 2 * num_targets:
            return f"its loss is a sum over the tape divided by {count:,}: that count is built in"
    return None


def _stated(world: World, claimed: Claimed) -> int | None:
    """Targets that it says it scored; some scripts print how many tokens there are, one more."""
    is_file = claimed.stated_tokens == world.tape.num_targets + 1
    return world.tape.num_targets if is_file else claimed.stated_tokens


def _total(tape: Tape, mean_nats: float, stated_tokens: int | None) -> float | None:
    """Odds of the mean, times as many targets as it can be of; None where that is too few."""
    num_scored = tape.num_targets if stated_tokens is None else stated_tokens
    if tape.num_targets - num_scored >= MAX_TAIL_TOKENS:
        return None
    surprisal = tape.surprisal[:num_scored]
    words = surprisal[tape.tokens[1 : num_scored + 1] != BOS]
    return min(total_log_odds(float(s.sum()), mean_nats * len(s)) for s in (surprisal, words))


def _aligned(
    tape: Tape, losses: NDArray[np.float32] | None
) -> tuple[NDArray[np.float64] | None, str | None]:
    """The losses as bets take them, or why they cannot be set against the tape's tokens."""
    if losses is None:
        return None, "no losses a token were written"
    if not 0 <= tape.num_targets - len(losses) < MAX_TAIL_TOKENS or not len(losses):
        return None, f"{len(losses):,} losses were written for {tape.num_targets:,} tokens"
    if np.isnan(losses).any():
        return None, "a loss is no number"
    upper = np.nextafter(losses, np.float32(np.inf)).astype(np.float64)  # their own rounding
    for begin in range(0, len(upper), BLOCK_TOKENS):
        block = slice(begin, begin + BLOCK_TOKENS)
        if _correlation(upper[block], tape.surprisal[: len(upper)][block]) < MIN_CORRELATION:
            return None, f"the losses from token {begin:,} on do not follow the tape's tokens"
    return upper, None


def _correlation(losses: NDArray[np.float64], surprisal: NDArray[np.float64]) -> float:
    if len(losses) < BLOCK_TOKENS or not np.isfinite(losses).all() or losses.std() == 0:
        return float(len(losses) < BLOCK_TOKENS)  # too short a rest to tell
    return float(np.corrcoef(losses, surprisal)[0, 1])


def _implied_bytes(final: FinalMetric, num_tokens: int) -> tuple[float | None, float | None]:
    """The denominator that loss and BPB were computed with, within what their digits leave open."""
    if not final.val_loss or not final.val_bpb:
        return None, None
    loss_half, bpb_half = 0.5 * 10.0**-final.loss_decimals, 0.5 * 10.0**-final.bpb_decimals
    if final.val_bpb <= bpb_half:
        return None, None
    return (
        implied_bytes(num_tokens, final.val_loss - loss_half, final.val_bpb + bpb_half),
        implied_bytes(num_tokens, final.val_loss + loss_half, final.val_bpb - bpb_half),
    )
