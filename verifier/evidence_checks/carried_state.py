"""A promise of the contract: each document is scored as if it were alone."""

from verifier.evidence_checks.base import EvidenceCase, nothing_seen, probe_record
from verifier.findings import CheckResult, Finding, cannot_tell, not_offered
from verifier.schemas.probe_record_json import MoveRecord
from verifier.schemas.rule_yaml import Rule

NOT_PROMISED = "pgolf.yaml does not say `documents: alone` or `apart`; to carry state is allowed"
REARRANGED = {"alone": "scored alone", "shuffled": "scored in another order"}
AMONG_OTHERS = {"neighbours": "where other documents have other words"}


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """By one document alone, by all of them in another order, and by half with other neighbours."""
    record = probe_record(case)
    if isinstance(record, CheckResult):
        return record
    if not (record.promises_alone or record.promises_apart):
        return not_offered(NOT_PROMISED)
    promised = AMONG_OTHERS | (REARRANGED if record.promises_alone else {})
    moves = [m for m in record.moves if m.kind in promised and m.largest_nats is not None]
    if not moves:
        return cannot_tell("no rearranged documents were scored")
    noise = record.noise_nats or 0.0
    findings = tuple(_finding(m) for m in moves if _moved(m, rule, noise))
    return CheckResult(findings=findings) if findings else nothing_seen(case)


def _moved(move: MoveRecord, rule: Rule, noise_nats: float) -> bool:
    """Documents that stay where they are have no other noise than a second scoring."""
    numbers, largest = rule.parameters, move.largest_nats or 0.0
    if move.kind in AMONG_OTHERS:
        least = max(numbers["min_moved_nats"], numbers["noise_factor"] * noise_nats)
        return largest > least
    mean = abs(move.mean_nats or 0.0)
    return largest > numbers["max_moved_nats"] or mean > numbers["max_mean_nats"]


def _finding(move: MoveRecord) -> Finding:
    return Finding(
        message=f"{(REARRANGED | AMONG_OTHERS)[move.kind]}, documents have other losses: by up to "
        f"{move.largest_nats:.3g} nats a token, {move.mean_nats:+.4f} on average",
        file=f"probe/{move.name}/stdout.log",
    )
