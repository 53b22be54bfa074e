"""Losses of changed tapes beside those of the sample: what moved, and whether it might."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verifier.claims.log_lines import FinalMetric
from verifier.floor.odds import bet
from verifier.probe.canaries import assess_canaries
from verifier.probe.neighbours import is_kept
from verifier.probe.order import assess_orders
from verifier.probe.turns import Turns
from verifier.probe.variants import Sample, Variant, law_of
from verifier.schemas.probe_record_json import LedgerRecord, MoveRecord, ProbeRecord

MAX_TAIL_TOKENS = 4_096
"""Public scripts leave out a rest that is shorter than a sequence; sequences are no longer."""
TOLERANCE_NATS = 1e-4
"""By how much a token's probabilities may fail to add up to one (issue 1017, condition 2)."""
MAX_LOG_RATIO = 20.0
"""Of q/r in averages; r is at least half of one in the number of words."""
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
    final: FinalMetric | None = None
    """What it printed of the tape."""
    turns: Turns | None = None
    """In which order it says that it scored."""


def assess(
    sample: Sample, variants: tuple[Variant, ...], scored: Mapping[str, Scored], secret: str
) -> ProbeRecord:
    """All that the losses say; `scored` maps a variant's name to its losses."""
    record = ProbeRecord(
        secret=secret,
        sample_begin=sample.begin,
        num_targets=len(sample.tokens) - 1,
        num_documents=len(sample.documents),
        num_losses=None if scored["base"].losses is None else len(scored["base"].losses),
        ledger=scored["base"].ledger,
        is_noted_inside=scored["base"].ledger is not None,
    )
    by_name = {v.name: v for v in variants}
    base, why = usable(by_name["base"], scored["base"])
    if base is None:
        return record.model_copy(update={"not_evaluated": why})
    others = [v for v in variants if v.kind not in ("base", "training", "canaries")]
    turns = scored["base"].turns
    moves = tuple(_move(sample, v, base, (scored[v.name], turns)) for v in others)
    repeated, why = usable(by_name["repeat"], scored["repeat"])
    noise = None if repeated is None else float(_moved(by_name["repeat"], base, repeated).max())
    update = {
        "noise_nats": noise,
        "not_evaluated": None if noise is not None else f"scored again, {why}",
        "moves": moves,
    }
    spliced, _ = usable(by_name["spliced"], scored["spliced"])
    if spliced is not None:
        update |= _of_drawn(sample, by_name["spliced"], base, spliced)
    update |= _of_orders(sample, variants, scored)
    if "canaries" in scored:
        losses, _ = usable(by_name["canaries"], scored["canaries"])
        if losses is not None:
            planted, law = by_name["canaries"], law_of(sample)
            update |= assess_canaries(planted, law, losses, TOLERANCE_NATS)
    if "training" in scored:
        update |= _over_training(by_name["base"], base, by_name["training"], scored["training"])
    return record.model_copy(update=update)


def loudest(record: ProbeRecord) -> str | None:
    """The changed tape whose losses moved most where they must not; None where none did."""
    moves = [move for move in record.moves if _loudness(move) > 0]
    return max(moves, key=_loudness).name if moves else None


def with_doubt(record: ProbeRecord, variant: Variant, twice: tuple[Scored, Scored]) -> ProbeRecord:
    """The record after a tape was scored twice: its noise is no less than what these differ by.

    Where training or adaptation repeats itself in most runs, to the bit, and in some not, the
    sample may have the same losses twice, and another tape others for no reason of its own.
    """
    (first, _), (again, why) = (usable(variant, scored) for scored in twice)
    if first is None or again is None:
        return record.model_copy(update={"not_evaluated": f"{variant.name} again: {why}"})
    num_both = min(len(first), len(again))
    noise = float(np.abs(first[:num_both] - again[:num_both]).max())
    return record.model_copy(update={"noise_nats": max(record.noise_nats or 0.0, noise)})


def _loudness(move: MoveRecord) -> float:
    if move.kind not in ("flip", "poison"):
        return 0.0
    earlier = move.earlier_nats if move.by_told_order else None
    return max(move.in_document_nats or 0.0, earlier or 0.0)


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


def _of_orders(
    sample: Sample, variants: tuple[Variant, ...], scored: Mapping[str, Scored]
) -> dict[str, float | int]:
    """Whether the text's own order suits it, where both tapes were scored."""
    tapes = [v for v in variants if v.kind == "shuffled"]
    losses = [own for v in tapes if (own := usable(v, scored[v.name])[0]) is not None]
    return assess_orders(sample, tapes, losses) if len(losses) == 2 else {}


def _move(
    sample: Sample, variant: Variant, base: Losses, told: tuple[Scored, Turns | None]
) -> MoveRecord:
    """One variant's record, from what came of it and the order in which the sample was scored."""
    scored, turns = told
    record = MoveRecord(
        kind=variant.kind, name=variant.name, wall_seconds=scored.wall_seconds, cut=variant.cut
    )
    losses, why = usable(variant, scored)
    if losses is None:
        return record.model_copy(update={"not_scored": why})
    moved = _moved(variant, base, losses)
    compared = variant.tokens[1 : len(moved) + 1] != sample.tokens[0]
    if variant.kind == "neighbours":
        compared &= is_kept(sample, variant)[1 : len(moved) + 1]
    ours = base[variant.places[1 : len(moved) + 1] - 1]
    update: dict[str, float | int | bool] = {}
    if compared.any():
        update["largest_nats"] = float(moved[compared].max())
        update["mean_nats"] = float((losses[: len(moved)] - ours)[compared].mean())
    if variant.cut is not None:
        update |= _before(sample, variant.cut, moved)
        if turns is not None and scored.turns is not None and turns.same_as(scored.turns):
            update |= _scored_earlier(sample, variant, turns, moved)
    return record.model_copy(update=update)


def _moved(variant: Variant, base: Losses, losses: Losses) -> Losses:
    """(K,) by how much the loss of each target moved, over targets that both scored."""
    places = variant.places[1 : len(losses) + 1]
    known = np.flatnonzero(places > len(base))
    end = int(known[0]) if len(known) else len(places)
    places = np.maximum(places[:end], 1)  # the sample's first token is a target only elsewhere
    return np.abs(losses[:end] - base[places - 1])


def _scored_earlier(
    sample: Sample, variant: Variant, turns: Turns, moved: Losses
) -> dict[str, float | int | bool]:
    """Moves in documents without a change, where no change was scored before by the told order."""
    changed = np.flatnonzero(variant.tokens != sample.tokens) - 1
    document = np.cumsum(sample.is_start)[: len(moved)]
    held = ~turns.after(changed)[: len(moved)] & ~np.isin(document, document[changed])
    return {
        "earlier_nats": float(moved[held].max(initial=0.0)),
        "num_held": int(held.sum()),
        "by_told_order": True,
    }


def _before(sample: Sample, cut: int, moved: Losses) -> dict[str, float | int | bool]:
    """Moves before the cut; the loss of token k stands at k − 1."""
    start = int(np.flatnonzero(sample.is_start[: cut + 1])[-1])
    earlier, own_document = moved[:start], moved[start : cut - 1]
    update: dict[str, float | int | bool] = {
        "earlier_nats": float(earlier.max(initial=0.0)),
        "num_held": len(earlier),
    }
    if len(own_document):
        furthest = int(own_document.argmax())
        update["in_document_nats"] = float(own_document[furthest])
        update["distance_tokens"] = cut - (start + 1 + furthest)
    if cut - 1 < len(moved):
        update["own_nats"] = float(moved[cut - 1])
    return update


def _of_drawn(
    sample: Sample, variant: Variant, base: Losses, losses: Losses
) -> dict[str, float | int | None]:
    """What the losses of drawn tokens say of sums over the vocabulary, and whether they hear.

    Given all before it, a drawn token has probability r under a law that we know, so the mean of
    q/r over what it may be is what q adds up to over the words: at most one.
    """
    assert variant.spliced is not None
    drawn = variant.spliced[variant.spliced <= min(len(losses), len(base))]
    if not len(drawn):
        return {}
    surprisal = law_of(sample).surprisal(variant.tokens[drawn])
    ratios = surprisal - losses[drawn - 1] - TOLERANCE_NATS
    is_other = variant.tokens[drawn] != sample.tokens[drawn]
    is_deaf = _is_deaf(drawn, base, losses)[is_other]
    begin, length = _longest_run(is_deaf)
    sums = np.exp(np.minimum(ratios, MAX_LOG_RATIO))
    return {
        "num_spliced": len(drawn),
        "vocabulary_sum": float(sums.mean()),
        "vocabulary_error": float(sums.std(ddof=1) / np.sqrt(len(sums))) if len(sums) > 1 else None,
        "vocabulary_odds_nats": bet(ratios).odds_nats,
        "deaf_from": int(drawn[is_other][begin]) if length else None,
        "deaf_drawn": length,
    }


def _over_training(
    sample: Variant, base: Losses, training: Variant, scored: Scored
) -> dict[str, float]:
    """How much higher validation losses are than those of documents that were there to learn."""
    losses, _ = usable(training, scored)
    if losses is None:
        return {}
    new, new_error = _mean_by_documents(sample, base)
    old, old_error = _mean_by_documents(training, losses)
    return {
        "over_training_nats": new - old,
        "over_training_error": float(np.hypot(new_error, old_error)),
    }


def _mean_by_documents(variant: Variant, losses: Losses) -> tuple[float, float]:
    """Mean loss and its standard error, with documents as what was drawn."""
    document = np.cumsum(variant.tokens == variant.tokens[0])[1 : len(losses) + 1]
    mean = float(losses.mean())
    residuals = np.bincount(document, weights=losses - mean)
    return mean, float(np.sqrt((residuals**2).sum()) / len(losses))


def _is_deaf(drawn: NDArray[np.int64], base: Losses, losses: Losses) -> NDArray[np.bool_]:
    """Which drawn tokens kept their loss to the last bit, or have that of the token before."""
    own, neighbour = losses[drawn - 1], losses[np.maximum(drawn - 2, 0)]
    return np.asarray((own == base[drawn - 1]) | (own == neighbour) & (drawn > 1))


def _longest_run(flags: NDArray[np.bool_]) -> tuple[int, int]:
    """Where the longest run of true flags begins, and how long it is."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    begins, ends = edges[::2], edges[1::2]
    if not len(begins):
        return 0, 0
    longest = int((ends - begins).argmax())
    return int(begins[longest]), int(ends[longest] - begins[longest])
