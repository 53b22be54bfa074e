"""The seed in a log's name against the seed that the log prints."""

from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Every log of the folder, scored or not."""
    if not case.claims.logs:
        return cannot_tell("there is no log")
    return CheckResult(
        findings=tuple(
            Finding(
                message=f"named for seed {claim.seed_in_name}, prints seed {claim.log.seed}",
                file=str(claim.file.path),
                line=claim.log.lines.get("seed"),
            )
            for claim in case.claims.logs
            if claim.label_mismatch
        )
    )
