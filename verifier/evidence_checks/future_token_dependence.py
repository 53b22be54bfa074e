"""Losses before a place must be the same whatever comes from that place on."""

from verifier.evidence_checks.base import EvidenceCase, nothing_seen, probe_record
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.probe_record_json import MoveRecord, ProbeRecord
from verifier.schemas.rule_yaml import Rule


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """A move beyond the noise in the same document breaks it; in another one it leaves it open.

    Where the script itself says that the other was scored before, it breaks it, too.
    """
    record = probe_record(case)
    if isinstance(record, CheckResult):
        return record
    noise, numbers = record.noise_nats or 0.0, rule.parameters
    if noise > numbers["max_noise_nats"]:
        return cannot_tell(
            f"two scorings of the same text differ by up to {noise:.3g} nats a token, which hides "
            "what the changes do; make evaluation repeatable"
        )
    least = max(numbers["min_moved_nats"], numbers["noise_factor"] * noise)
    changed = [m for m in record.moves if m.kind in ("flip", "poison") and m.not_scored is None]
    findings = tuple(_finding(m) for m in changed if (m.in_document_nats or 0.0) > least)
    findings += tuple(
        _against_own_order(m)
        for m in changed
        if m.by_told_order and (m.earlier_nats or 0.0) > least
    )
    if findings:
        return CheckResult(findings=findings)
    rounded = max(numbers["max_rounding_nats"], numbers["noise_factor"] * noise)
    return (
        _without_alarm(record, changed, least)
        or _moved_a_little(changed, rounded)
        or nothing_seen(case)
    )


def _without_alarm(
    record: ProbeRecord, changed: list[MoveRecord], least: float
) -> CheckResult | None:
    """Silence counts only where the losses hear, and the order of documents is the text's."""
    failed = [m for m in record.moves if m.kind in ("flip", "poison") and m.not_scored]
    if failed:
        return cannot_tell(f"{failed[0].name}: {failed[0].not_scored}")
    if not any((m.own_nats or 0.0) > least for m in changed):
        return cannot_tell("changed tokens do not move even their own losses")
    for move in changed:
        if (move.earlier_nats or 0.0) > least:
            return cannot_tell(
                f"{move.name}: losses of earlier documents move by up to {move.earlier_nats:.3g} "
                "nats: either documents are scored in another order, or twice; a script that tells "
                "its order beside its losses (docs/probe.md) is held to that"
            )
    return None


def _moved_a_little(changed: list[MoveRecord], rounded_nats: float) -> CheckResult | None:
    """A causal model computes the same numbers again; what moves beyond rounding is no silence."""
    for move in changed:
        if (move.in_document_nats or 0.0) > rounded_nats:
            return cannot_tell(
                f"{move.name}: the loss of a token before the change moves by "
                f"{move.in_document_nats:.2g} nats: too little to reject for, and more than "
                "rounding; a longer training (--env ITERATIONS=...) shows what it comes of"
            )
    return None


def _finding(move: MoveRecord) -> Finding:
    what = "one token is" if move.kind == "flip" else "all tokens of a document from one on are"
    return Finding(
        message=f"where {what} replaced, at token {move.cut:,}, the loss of the token "
        f"{move.distance_tokens:,} before it moves by {move.in_document_nats:.3g} nats",
        file=f"probe/{move.name}/stdout.log",
        evidence=_points_to(move),
    )


def _against_own_order(move: MoveRecord) -> Finding:
    return Finding(
        message=f"where token {move.cut:,} is replaced, losses of other documents "
        f"move by up to {move.earlier_nats:.3g} nats, which the script says it scored before",
        file=f"probe/{move.name}/stdout.log",
    )


def _points_to(move: MoveRecord) -> str:
    """Which breach it is usual of; a hint, no proof."""
    if (move.earlier_nats or 0.0) > 0:
        return (
            "earlier documents move too: as where the text is learned, or its statistics are "
            "taken, before it is scored, or a later pass is the one that counts"
        )
    return (
        "earlier documents stay: as where a chunk or document is learned before it is scored, or "
        "attention sees ahead"
    )
