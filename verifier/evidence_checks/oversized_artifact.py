"""Artifact file plus code, seed by seed, against the track's cap."""

from dataclasses import replace

from verifier.artifact_sizes import claimed_total, measured_total
from verifier.evidence_checks.base import EvidenceCase, each_seed, log_file
from verifier.findings import CheckResult, Finding
from verifier.schemas.rule_yaml import Rule
from verifier.schemas.run_record_json import SeedClaimed, SeedMeasurement


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """Bytes on our disk, code counted under the profile's convention."""
    result = each_seed(case, rule, _claimed, _measured)
    if case.evidence is None and not result.findings:
        return replace(result, findings=_stated(case))
    return result


def _cap(case: EvidenceCase) -> int:
    return int(case.track.limits.artifact_bytes.value)


def _claimed(seed: SeedClaimed, case: EvidenceCase, rule: Rule) -> Finding | None:
    cap, convention = _cap(case), case.profile.byte_count
    total, counted, line = seed.total_bytes, None, seed.lines.get("total_bytes")
    recounted = claimed_total(seed, case.claims.code_bytes, convention)
    if recounted is not None and seed.model_bytes is not None and convention != "as_logged":
        total, line = recounted, seed.lines.get("model_bytes")
        code_bytes = recounted - seed.model_bytes
        counted = f"model {seed.model_bytes:,} + code ({convention}) {code_bytes:,}"
    if total is None or total <= cap or _fits_as_shipped(seed, case):
        return None
    return Finding(
        message=f"the claimed figures come to {total:,} bytes, {total - cap:,} over the cap",
        file=seed.source,
        line=line,
        evidence=counted,
    )


def _fits_as_shipped(seed: SeedClaimed, case: EvidenceCase) -> bool:
    """Whether a log counted more code than is handed in: all of the folder's fits with the model.

    Authors whose logs pass the cap answered by packing the script (PR 1835, 71,321 bytes over).
    """
    shipped = claimed_total(seed, case.claims.code_bytes, "every_file_opened")
    return shipped is not None and shipped <= _cap(case)


def _measured(seed: SeedMeasurement, case: EvidenceCase, rule: Rule) -> Finding | str | None:
    cap, convention = _cap(case), case.profile.byte_count
    if seed.artifact_bytes is None:
        return f"seed {seed.seed}: no artifact file was recognised"
    total = measured_total(seed, convention)
    if total is None:
        return f"seed {seed.seed}: the code has no known size by the convention '{convention}'"
    if total <= cap:
        return _unproved_code(seed, cap, convention)
    return Finding(
        message=f"seed {seed.seed}: {total:,} bytes, {total - cap:,} over the cap of {cap:,}",
        file=log_file(seed),
        evidence=f"{seed.artifact_file}: {seed.artifact_bytes:,} + code ({convention}): "
        f"{total - seed.artifact_bytes:,}",
    )


def _unproved_code(seed: SeedMeasurement, cap: int, convention: str) -> str | None:
    """Why code that the run itself counted is not believed; None where it is, or we counted."""
    logged, packed = seed.code_bytes.as_logged, seed.code_bytes.rebuilt_wrapper
    if convention != "as_logged" or logged is None or packed is None or logged >= packed:
        return None
    if (seed.artifact_bytes or 0) + packed <= cap:
        return None
    return (
        f"seed {seed.seed}: only the run says that its code takes {logged:,} bytes; packed by us "
        f"it takes {packed:,}, and those would pass the cap"
    )


def _stated(case: EvidenceCase) -> tuple[Finding, ...]:
    """What submission.json says, where no log says more."""
    stated, cap = case.claims.bytes_total, _cap(case)
    if stated is None or stated <= cap:
        return ()
    binary = "; it is below 16 MiB, but the cap is decimal" if stated <= 16 << 20 else ""
    return (
        Finding(
            message=f"the stated total is {stated:,} bytes, {stated - cap:,} over the cap{binary}",
            file="submission.json",
        ),
    )
