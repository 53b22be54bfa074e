"""The GPUs that the logs or submission.json tell of, against the track's."""

import re

from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Only logs behind the claim; where none prints its world size, what submission.json says."""
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
    if not any(claim.log.world_size for claim in logs):
        if stated := _stated(case):
            return CheckResult(findings=(stated,))
        return cannot_tell("no log behind the claim prints its world size")
    return CheckResult(findings=findings)


def _stated(case: PaperCase) -> Finding | None:
    """Other hardware by name or number under `hardware`, a key that most authors fill."""
    wanted, metadata = case.track.hardware, case.claims.metadata
    text = metadata.extra.get("hardware") if metadata else None
    if not isinstance(text, str) or not text.strip() or wanted.gpu_name is None:
        return None
    numbers = re.findall(rf"(?i)(\d{{1,4}}) ?[x×] ?(?:nvidia )?{re.escape(wanted.gpu_name)}", text)
    is_named = wanted.gpu_name.lower() in text.lower()
    if is_named and (not numbers or str(wanted.num_gpus) in numbers):
        return None
    message = f"submission.json names other hardware; the track has {wanted.num_gpus} x"
    return Finding(
        message=f"{message} {wanted.gpu_name}", file="submission.json", evidence=text[:200]
    )
