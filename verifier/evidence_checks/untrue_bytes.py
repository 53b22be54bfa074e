"""Loss and BPB must imply the bytes of the raw documents that were scored, and so must sidecars."""

from verifier.evidence_checks.base import EvidenceCase, fresh_record
from verifier.findings import PASSED, CheckResult, Finding, cannot_tell
from verifier.schemas.fresh_record_json import FreshRecord
from verifier.schemas.rule_yaml import Rule


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """By what was printed of the drawn tape, and by the sidecar of the data that were there."""
    record = fresh_record(case)
    if isinstance(record, CheckResult):
        return record
    by_sidecar = _of_sidecar(record, rule.parameters["sidecar_tolerance_relative"])
    by_print = _of_print(record, rule.parameters["tolerance_relative"])
    if by_sidecar or by_print:
        return CheckResult(findings=by_sidecar + by_print)
    if record.implied_bytes_low is None or record.text_bytes_low is None:
        return cannot_tell("it printed no BPB of the fresh documents beside its loss")
    return PASSED


def _of_print(record: FreshRecord, tolerance: float) -> tuple[Finding, ...]:
    """The whole interval that rounding leaves must lie beyond the tolerance."""
    low, high = record.implied_bytes_low, record.implied_bytes_high
    least, most = record.text_bytes_low, record.text_bytes_high
    if low is None or high is None or least is None or most is None:
        return ()
    if low <= most * (1 + tolerance) and high >= least * (1 - tolerance):
        return ()
    implied = (low + high) / 2
    return (
        Finding(
            message=f"its loss and BPB imply {implied:,.0f} bytes, the documents have {most:,} "
            f"({implied / most:.4f} times as many)",
            file="probe/fresh/stdout.log",
        ),
    )


def _of_sidecar(record: FreshRecord, tolerance: float) -> tuple[Finding, ...]:
    told, real = record.sidecar_bytes, record.sidecar_text_bytes
    if told is None or real is None or abs(told - real) <= tolerance * real:
        return ()
    return (
        Finding(
            message=f"the sidecar gives the drawn validation documents {told:,} "
            f"bytes, their text has {real:,} ({told / max(real, 1):.4f} times as many)",
            file="fresh.json",
        ),
    )
