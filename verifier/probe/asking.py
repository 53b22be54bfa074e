"""Which tapes are scored: what was planned, and once more by itself what that leaves open.

Silence is an answer, whatever else stands on a tape; a move is only one where nothing else could
have made it. So changes share a tape until one of them moves a loss, and nothing is scored twice
before there is a move for noise to explain.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from verifier.probe.assessment import assess, with_doubt
from verifier.probe.moves import ANSWERED_NATS, STILL_NATS, Reference, is_still, loudness
from verifier.probe.scored import Scored, usable
from verifier.probe.tapes.variants import Sample, Variant, plain, take_apart
from verifier.schemas.probe_record_json import MoveRecord, ProbeRecord

Score = Callable[[Variant], Scored]


def ask(sample: Sample, planned: Sequence[Variant], score: Score, secret: str) -> ProbeRecord:
    """Score tapes, the unchanged sample first, and assess all that was heard.

    Args:
        sample: the text as it is.
        planned: the tapes.
        score: runs the script on one.
        secret: what they were drawn by.
    """
    base, *others = planned
    heard = _Heard(sample=sample, score=score)
    heard.hear(base)
    losses, _ = usable(base, heard.scored[base.name])
    if losses is None:
        return heard.record(secret)  # nothing to compare the others with
    reference = Reference.of(sample, losses, heard.scored[base.name])
    for variant in _taken_apart(reference, others, heard):
        heard.hear(variant)
    return _with_noise(heard, secret)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Heard:
    """The tapes that were scored so far."""

    sample: Sample
    score: Score
    variants: list[Variant] = field(default_factory=list)
    scored: dict[str, Scored] = field(default_factory=dict)

    def hear(self, variant: Variant) -> None:
        self.scored[variant.name] = self.score(variant)
        self.variants.append(variant)

    def record(self, secret: str) -> ProbeRecord:
        return assess(self.sample, self.variants, self.scored, secret)


def _taken_apart(
    reference: Reference, planned: Sequence[Variant], heard: _Heard
) -> Iterator[Variant]:
    """The planned tapes, and each change by itself that its tape leaves open.

    Where documents hang on each other the first shared tape shows it, and none is shared after it.
    """
    are_apart = True
    for variant in planned:
        if len(variant.changes) < 2:
            yield variant
            continue
        is_open = [True] * len(variant.changes)
        if are_apart:
            yield variant
            moves = reference.moves(variant, heard.scored[variant.name])
            is_open = [not is_still(move, ANSWERED_NATS) for move in moves]
            are_apart = not any(is_open)
        changes = zip(variant.changes, is_open, strict=True)
        yield from take_apart(reference.sample, variant, [c for c, left in changes if left])


def _with_noise(heard: _Heard, secret: str) -> ProbeRecord:
    """The record; where something moved, the sample is scored again, and what moved most."""
    record = heard.record(secret)
    if all(is_still(move) and loudness(move) <= STILL_NATS for move in _judged(record)):
        return record
    heard.hear(plain(heard.sample, "repeat"))
    record = heard.record(secret)
    loudest = max(_judged(record), key=loudness)
    if loudness(loudest) <= STILL_NATS:
        return record
    [moved] = [variant for variant in heard.variants if variant.name == loudest.name]
    again = heard.score(replace(moved, name=f"{moved.name}_again"))
    record = with_doubt(record, moved, (heard.scored[moved.name], again))
    return record.model_copy(
        update={
            "num_evaluations": record.num_evaluations + 1,
            "tapes_seconds": record.tapes_seconds + again.wall_seconds,
        }
    )


def _judged(record: ProbeRecord) -> list[MoveRecord]:
    return [move for move in record.moves if move.kind in ("flip", "poison", "neighbours")]
