"""The world size that the logs print, against the track's number of GPUs."""

from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Only logs behind the claim; one that prints no world size tells nothing."""
    wanted = case.track.hardware.num_gpus
    logs = case.claims.claiming_logs
    findings = tuple(
        Finding(
            message=f"GPUs that it ran on: {claim.log.world_size}; the track has {wanted}",
            file=str(claim.file.path),
            line=claim.log.lines.get("world_size"),
        )
        for claim in logs
        if claim.log.world_size is not None and claim.log.world_size != wanted
    )
    if not findings and not any(claim.log.world_size for claim in logs):
        return cannot_tell("no log behind the claim prints its world size")
    return CheckResult(findings=findings)
