"""By how much the losses of a changed tape differ from the sample's, each where it says something.

Several changes may share a tape, each in a document of its own. A loss that keeps still before one
of them says as much as if that change were there alone. One that moves may do so because of another
change, and says nothing before the change is scored by itself.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verifier.probe.scored import Losses, Scored, usable
from verifier.probe.tapes.neighbours import is_kept
from verifier.probe.tapes.variants import Change, Sample, Variant
from verifier.probe.turns import Turns
from verifier.schemas.probe_record_json import MoveRecord

STILL_NATS = 0.001
"""A loss that moves by no more breaks no rule (`min_moved_nats` in `rules/`)."""
ANSWERED_NATS = STILL_NATS / 10
"""A loss that moves by no more on a shared tape hides no leak that breaks a rule, or only one that
another change undoes to within a tenth."""
MAX_SHARE_ELSEWHERE = 0.01
"""Of a tape's losses may be noted elsewhere than the sample's; what is more cannot be compared."""
Told = dict[str, float | int | bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """The sample and what came of scoring it."""

    sample: Sample
    losses: Losses
    turns: Turns | None
    noted_at: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, sample: Sample, losses: Losses, scored: Scored) -> "Reference":
        """The sample, its usable losses, and what they came of."""
        return cls(sample=sample, losses=losses, turns=scored.turns, noted_at=scored.noted_at)

    def moves(self, variant: Variant, scored: Scored) -> tuple[MoveRecord, ...]:
        """One record for each of its changes, or a single one of a tape without any."""
        records = [
            MoveRecord(kind=c.kind, name=variant.name, wall_seconds=scored.wall_seconds, cut=c.cut)
            for c in variant.changes
        ] or [MoveRecord(kind=variant.kind, name=variant.name, wall_seconds=scored.wall_seconds)]
        losses, why = self.comparable(variant, scored)
        if losses is None:
            return tuple(record.model_copy(update={"not_scored": why}) for record in records)
        moved = self.moved(variant, losses, scored)
        everywhere = self._everywhere(variant, losses, moved)
        told: list[Told] = [{}]
        if variant.changes:
            turns = scored.turns
            is_same = self.turns is not None and turns is not None and self.turns.same_as(turns)
            told = [self._before(variant, change, moved, is_same) for change in variant.changes]
        return tuple(
            record.model_copy(update=everywhere | update)
            for record, update in zip(records, told, strict=True)
        )

    def comparable(self, variant: Variant, scored: Scored) -> tuple[Losses | None, str]:
        """Losses that can be set against the sample's; or why these cannot."""
        losses, why = usable(variant, scored)
        share = float(self._is_elsewhere(variant, scored).mean())
        if losses is not None and share > MAX_SHARE_ELSEWHERE:
            return None, f"{share:.0%} of its losses were noted elsewhere than the sample's"
        return losses, why

    def moved(self, variant: Variant, losses: Losses, scored: Scored) -> Losses:
        """(K,) by how much the loss of each target moved, over targets that both scored."""
        moved = self._moved(variant, losses)
        moved[self._is_elsewhere(variant, scored)[: len(moved)]] = 0.0
        return moved

    def _is_elsewhere(self, variant: Variant, scored: Scored) -> NDArray[np.bool_]:
        """(K,) which losses the instrument found in another place of the run than the sample's.

        It places rows of targets by what is unique in the text. Beside a change it may find a few
        where they were read again, with more context or learned: another loss of the same token.
        """
        here, there = self.noted_at, scored.noted_at
        size = min(len(here), len(there)) if here is not None and there is not None else 0
        is_laid_out_alike = np.array_equal(variant.places, np.arange(len(variant.places)))
        if here is None or there is None or not is_laid_out_alike:
            return np.zeros(len(variant.tokens) - 1, dtype=bool)
        return np.asarray(here[:size] != there[:size])

    def _moved(self, variant: Variant, losses: Losses) -> Losses:
        places = variant.places[1 : len(losses) + 1]
        known = np.flatnonzero(places > len(self.losses))
        end = int(known[0]) if len(known) else len(places)
        places = np.maximum(places[:end], 1)  # the sample's first token is a target only elsewhere
        return np.abs(losses[:end] - self.losses[places - 1])

    def _everywhere(self, variant: Variant, losses: Losses, moved: Losses) -> Told:
        compared = variant.tokens[1 : len(moved) + 1] != self.sample.tokens[0]
        if variant.kind == "neighbours":
            compared &= is_kept(self.sample, variant)[1 : len(moved) + 1]
        if not compared.any():
            return {}
        ours = self.losses[variant.places[1 : len(moved) + 1] - 1]
        return {
            "largest_nats": float(moved[compared].max()),
            "mean_nats": float((losses[: len(moved)] - ours)[compared].mean()),
        }

    def _before(self, variant: Variant, change: Change, moved: Losses, is_same_order: bool) -> Told:
        """Moves that the change must not make; the loss of token k stands at k − 1."""
        start = self.sample.document_of(change.cut).start
        own_document = moved[start : change.cut - 1]
        is_unchanged = self._is_unchanged(variant)[: len(moved)]
        is_before = np.arange(len(moved)) < start
        told: Told = {}
        changed = np.arange(change.cut, min(change.end, len(self.losses) + 1)) - 1
        if is_same_order and self.turns is not None and len(changed):
            is_before = ~self.turns.after(changed)[: len(moved)]
            told["by_told_order"] = True
        earlier = moved[is_before & is_unchanged]
        told |= {"earlier_nats": float(earlier.max(initial=0.0)), "num_held": len(earlier)}
        if len(own_document):
            furthest = int(own_document.argmax())
            told["in_document_nats"] = float(own_document[furthest])
            told["distance_tokens"] = change.cut - (start + 1 + furthest)
        if change.cut - 1 < len(moved):
            told["own_nats"] = float(moved[change.cut - 1])
        return told

    def _is_unchanged(self, variant: Variant) -> NDArray[np.bool_]:
        """(N,) which targets are predicted in documents without a change."""
        is_unchanged = np.ones(len(self.sample.tokens) - 1, dtype=bool)
        for change in variant.changes:
            is_unchanged[self.sample.document_of(change.cut)] = False
        return is_unchanged


def is_still(move: MoveRecord, least_nats: float = STILL_NATS) -> bool:
    """Whether nothing moved before the change, so that no other change needs to excuse it."""
    return max(move.in_document_nats or 0.0, move.earlier_nats or 0.0) <= least_nats


def loudness(move: MoveRecord) -> float:
    """By how much the losses moved that must not, by the script's own word or without it."""
    if move.kind == "neighbours":
        return move.largest_nats or 0.0
    if move.kind not in ("flip", "poison"):
        return 0.0
    earlier = move.earlier_nats if move.by_told_order else None
    return max(move.in_document_nats or 0.0, earlier or 0.0)
