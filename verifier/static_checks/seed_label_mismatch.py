"""The seed in a log's name against the seed that the log prints."""

from verifier.claims.seed_by_seed import LogClaim
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Every log of the folder, scored or not."""
    if not case.claims.logs:
        return cannot_tell("there is no log")
    mislabelled = [claim for claim in case.claims.logs if claim.label_mismatch]
    if _only_counts(mislabelled):
        mislabelled = []
    return CheckResult(
        findings=tuple(
            Finding(
                message=f"named for seed {claim.seed_in_name}, prints seed {claim.log.seed}",
                file=str(claim.file.path),
                line=claim.log.lines.get("seed"),
            )
            for claim in mislabelled
        )
    )


def _only_counts(logs: list[LogClaim]) -> bool:
    """Whether the names count the runs, from nought or one on, and each is of a seed of its own."""
    named = sorted(log.seed_in_name or 0 for log in logs)
    is_a_count = len(named) > 1 and named in (
        list(range(len(named))),
        list(range(1, len(named) + 1)),
    )
    return is_a_count and len({log.log.seed for log in logs}) == len(logs)
