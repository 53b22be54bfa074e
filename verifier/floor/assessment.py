"""A script's claims about a tape, against the tape: what the evidence says of its floor.

Whatever is unclear is read in the script's favour: printed digits by the end of their rounding that
favours it, and starts of documents as scored or not, because public scripts do either.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verifier.claims.log_lines import FinalMetric
from verifier.floor.odds import bet, total_log_odds
from verifier.floor.source import Tape
from verifier.floor.tokenizer_model import BOS
from verifier.floor.world import World
from verifier.runs.scores import MAX_TAIL_TOKENS, finite
from verifier.schemas.floor_record_json import FloorRecord
from verifier.units import implied_bytes

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
    final = claimed.final
    record = FloorRecord(
        world=world.record,
        not_evaluated=_why_not(world, claimed, allowance),
        stated_tokens=claimed.stated_tokens,
        num_losses=None if claimed.losses is None else len(claimed.losses),
    )
    if final is None or final.val_loss is None:
        return record
    num_scored = _stated(world, claimed) or world.tape.num_targets
    low, high = implied_range(final, num_scored)
    record = record.model_copy(
        update={
            "loss_nats": final.val_loss,
            "rounding_nats": 0.5 * 10.0**-final.loss_decimals,
            "scored_bytes": int(world.target_bytes[:num_scored].sum()),
            "implied_bytes_low": low,
            "implied_bytes_high": high,
        }
    )
    if record.not_evaluated is not None:
        return record
    return record.model_copy(update=_odds(record, world, claimed, allowance.tolerance_nats))


def _odds(
    record: FloorRecord, world: World, claimed: Claimed, tolerance_nats: float
) -> dict[str, object]:
    """The record's odds, of the total and of bets."""
    granted_nats = (record.loss_nats or 0.0) + (record.rounding_nats or 0.0) + tolerance_nats
    num_scored = _stated(world, claimed) or world.tape.num_targets
    total = None
    if world.tape.num_targets - num_scored < MAX_TAIL_TOKENS:
        possible = _possible_targets(record, world.tape, num_scored)
        total = min(total_log_odds(float(s.sum()), granted_nats * len(s)) for s in possible)
    ratios, no_betting = _log_ratios(world.tape, claimed.losses)
    if ratios is None:
        return {"total_odds_nats": total, "no_betting": no_betting}
    bets = bet(ratios - tolerance_nats)
    return {
        "total_odds_nats": total,
        "betting_odds_nats": bets.odds_nats,
        "betting_path": bets.path,
    }


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
        if 0.99 < final.val_loss * count / world.tape.floor_nats < 2 and count > 2 * num_targets:
            return f"its loss is a sum over the tape divided by {count:,}: that count is built in"
    return None


def _stated(world: World, claimed: Claimed) -> int | None:
    """Targets that it says it scored; some scripts print how many tokens there are, one more."""
    is_file = claimed.stated_tokens == world.tape.num_targets + 1
    return world.tape.num_targets if is_file else claimed.stated_tokens


def _possible_targets(
    record: FloorRecord, tape: Tape, num_scored: int
) -> list[NDArray[np.float64]]:
    """−ln P of the targets that the mean may be of: all of them, or all but starts of documents.

    Loss and BPB are of one sum, so with the tape's bytes they imply how many targets it was
    divided by. Where their digits tell numbers apart that differ by the starts, that decides.
    """
    surprisal = tape.surprisal[:num_scored]
    is_start = tape.tokens[1 : num_scored + 1] == BOS
    implied = (record.implied_bytes_low, record.implied_bytes_high)
    off = [abs((b or 0.0) / (record.scored_bytes or 1) - 1) for b in implied]
    if max(off) < is_start.mean() / 4:
        return [surprisal]
    return [surprisal, surprisal[~is_start]]


def _log_ratios(
    tape: Tape, losses: NDArray[np.float32] | None
) -> tuple[NDArray[np.float64] | None, str | None]:
    """Nats of q_i/p_i to bet on, or why the losses cannot be set against the tape's tokens.

    Nothing is bet on a document's first token: only we know which kind comes next, so an honest
    predictor must lose there.
    """
    if losses is None:
        return None, "no losses a token were written"
    if not 0 <= tape.num_targets - len(losses) < MAX_TAIL_TOKENS or not len(losses):
        return None, f"{len(losses):,} losses were written for {tape.num_targets:,} tokens"
    if np.isnan(losses).any():
        return None, "a loss is no number"
    upper = np.nextafter(losses, np.float32(np.inf)).astype(np.float64)  # their own rounding
    surprisal = tape.surprisal[: len(upper)]
    for begin in range(0, len(upper), BLOCK_TOKENS):
        block = slice(begin, begin + BLOCK_TOKENS)
        if _correlation(upper[block], surprisal[block]) < MIN_CORRELATION:
            return None, f"the losses from token {begin:,} on do not follow the tape's tokens"
    return np.where(tape.tokens[: len(upper)] == BOS, 0.0, surprisal - upper), None


def _correlation(losses: NDArray[np.float64], surprisal: NDArray[np.float64]) -> float:
    if len(losses) < BLOCK_TOKENS or not np.isfinite(losses).all() or losses.std() == 0:
        return float(len(losses) < BLOCK_TOKENS)  # too short a rest to tell
    return float(np.corrcoef(losses, surprisal)[0, 1])


def implied_range(final: FinalMetric, num_tokens: int) -> tuple[float | None, float | None]:
    """The denominator that loss and BPB were computed with, within what their digits leave open."""
    if not final.val_loss or not final.val_bpb:
        return None, None
    loss_half, bpb_half = 0.5 * 10.0**-final.loss_decimals, 0.5 * 10.0**-final.bpb_decimals
    if final.val_bpb <= bpb_half:
        return None, None
    return (
        finite(implied_bytes(num_tokens, final.val_loss - loss_half, final.val_bpb + bpb_half)),
        finite(implied_bytes(num_tokens, final.val_loss + loss_half, final.val_bpb - bpb_half)),
    )
