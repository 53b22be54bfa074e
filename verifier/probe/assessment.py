"""Losses of changed tapes beside those of the sample: what moved, and whether it might."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from verifier.floor.odds import bet
from verifier.probe.moves import Reference
from verifier.probe.scored import Losses, Scored, usable
from verifier.probe.tapes.canaries import assess_canaries
from verifier.probe.tapes.order import assess_orders, blocks
from verifier.probe.tapes.strewn import surprisal
from verifier.probe.tapes.variants import Sample, Variant, law_of
from verifier.schemas.probe_record_json import MoveRecord, ProbeRecord

TOLERANCE_NATS = 1e-4
"""By how much a token's probabilities may fail to add up to one (issue 1017, condition 2)."""
MAX_LOG_RATIO = 20.0
"""Of q/r in averages; r is at least half of one in the number of words."""
UNMOVED = ("base", "training", "canaries")
"""Kinds of tapes whose losses are not set against the sample's one by one."""


def assess(
    sample: Sample, variants: Sequence[Variant], scored: Mapping[str, Scored], secret: str
) -> ProbeRecord:
    """All that the losses say; `scored` maps a variant's name to its losses.

    Args:
        sample: the text as it is.
        variants: the tapes that were scored; of a change that stands on several the last counts.
        scored: what came of each.
        secret: what they were drawn by.
    """
    by_name = {variant.name: variant for variant in variants}
    record = ProbeRecord(
        secret=secret,
        sample_begin=sample.begin,
        num_targets=len(sample.tokens) - 1,
        num_documents=len(sample.documents),
        num_losses=None if scored["base"].losses is None else len(scored["base"].losses),
        ledger=scored["base"].ledger,
        is_noted_inside=scored["base"].ledger is not None,
        num_evaluations=len(variants),
        base_seconds=scored["base"].wall_seconds,
        tapes_seconds=sum(scored[variant.name].wall_seconds for variant in variants),
    )
    base, why = usable(by_name["base"], scored["base"])
    if base is None:
        return record.model_copy(update={"not_evaluated": why})
    reference = Reference.of(sample, base, scored["base"])
    update: dict[str, object] = {"moves": _moves(reference, variants, scored)}
    if "repeat" in scored:
        repeated, why = reference.comparable(by_name["repeat"], scored["repeat"])
        if repeated is None:
            update["not_evaluated"] = f"scored again, {why}"
        else:
            moved = reference.moved(by_name["repeat"], repeated, scored["repeat"])
            update["noise_nats"] = float(moved.max())
    if "spliced" in scored:
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


def _moves(
    reference: Reference, variants: Sequence[Variant], scored: Mapping[str, Scored]
) -> tuple[MoveRecord, ...]:
    """Of a change that was scored by itself as well, that scoring alone."""
    told: dict[tuple[str, int | str], MoveRecord] = {}
    for variant in variants:
        if variant.kind not in UNMOVED:
            for move in reference.moves(variant, scored[variant.name]):
                told[move.kind, move.cut or move.name] = move
    return tuple(told.values())


def _of_orders(
    sample: Sample, variants: Sequence[Variant], scored: Mapping[str, Scored]
) -> dict[str, float | int]:
    """Whether the text's own order suits it, where both tapes were scored."""
    tapes = [v for v in variants if v.kind == "shuffled"]
    losses = [own for v in tapes if (own := usable(v, scored[v.name])[0]) is not None]
    if len(losses) < 2:
        return {"num_blocks": len(blocks(sample))}
    return assess_orders(sample, tapes, losses)


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
    is_other = variant.tokens[drawn] != sample.tokens[drawn]
    is_deaf = _is_deaf(drawn, base, losses)[is_other]
    begin, length = _longest_run(is_deaf)
    ratios = surprisal(sample, variant.tokens, drawn) - losses[drawn - 1] - TOLERANCE_NATS
    is_start = variant.tokens[drawn] == sample.tokens[0]
    if not (losses[drawn - 1] > 0)[is_start].any():
        ratios[is_start] = -np.inf  # targets that start a document are not scored: nothing is won
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
