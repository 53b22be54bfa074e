"""Two seeds must be two runs."""

from itertools import combinations

from verifier.evidence_checks.base import EvidenceCase, log_file
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.schemas.run_record_json import SeedMeasurement


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """Every seed against every other; the first that it repeats is named."""
    if case.evidence is None:
        return cannot_tell("nothing was run")
    if len(case.completed) < 2:
        return cannot_tell("fewer than two seeds completed")
    findings: dict[int, Finding] = {}
    for one, other in combinations(case.completed, 2):
        alike = _alike(one, other, int(rule.parameters["min_equal_losses"]))
        if alike and other.seed not in findings:
            findings[other.seed] = Finding(
                message=f"seeds {one.seed} and {other.seed} have {alike}", file=log_file(other)
            )
    return CheckResult(findings=tuple(findings.values()))


def _alike(one: SeedMeasurement, other: SeedMeasurement, min_losses: int) -> str | None:
    """What two seeds share that two runs cannot share."""
    if one.artifact_sha256 and one.artifact_sha256 == other.artifact_sha256:
        return "the same artifact, byte for byte"
    if one.losses_sha256 and one.losses_sha256 == other.losses_sha256:
        return "the same training losses at every step"
    num_losses = min(len(one.first_losses), len(other.first_losses))
    if num_losses >= min_losses:
        same = one.first_losses[:num_losses] == other.first_losses[:num_losses]
        return f"the same first {num_losses} training losses" if same else None
    if one.artifact_sha256 or one.val_bpb != other.val_bpb:
        return None
    return f"the same score, {one.val_bpb:.8f} BPB, and nothing else to tell them apart"
