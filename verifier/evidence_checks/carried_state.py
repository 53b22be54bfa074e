"""A promise of the contract: each document is scored as if it were alone."""

from verifier.evidence_checks.base import EvidenceCase, nothing_seen, probe_record
from verifier.findings import CheckResult, Finding, cannot_tell, not_offered
from verifier.schemas.probe_record_json import MoveRecord
from verifier.schemas.rule_yaml import Rule

NOT_PROMISED = "pgolf.yaml does not say `documents: alone`; to carry state is allowed"
REARRANGED = {"alone": "scored alone", "shuffled": "scored in another order"}


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """By one document alone, and by all of them in another order."""
    record = probe_record(case)
    if isinstance(record, CheckResult):
        return record
    if not record.promises_alone:
        return not_offered(NOT_PROMISED)
    moves = [m for m in record.moves if m.kind in REARRANGED and m.largest_nats is not None]
    if not moves:
        return cannot_tell("no rearranged documents were scored")
    findings = tuple(_finding(m) for m in moves if _moved(m, rule))
    return CheckResult(findings=findings) if findings else nothing_seen(case)


def _moved(move: MoveRecord, rule: Rule) -> bool:
    largest, mean = move.largest_nats or 0.0, abs(move.mean_nats or 0.0)
    return largest > rule.parameters["max_moved_nats"] or mean > rule.parameters["max_mean_nats"]


def _finding(move: MoveRecord) -> Finding:
    return Finding(
        message=f"{REARRANGED[move.kind]}, documents have other losses: by up to "
        f"{move.largest_nats:.3g} nats a token, {move.mean_nats:+.4f} on average",
        file=f"probe/{move.name}/stdout.log",
    )
