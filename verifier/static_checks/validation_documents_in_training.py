"""Fingerprints of training data that hold validation documents, in logs and in words."""

import re

from verifier.claims.prose import statements
from verifier.claims.seed_by_seed import LogClaim
from verifier.findings import CheckResult, Finding
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase

_TRAINED_ON_VALIDATION = re.compile(
    r"(?i)\bval(?:idation)?[- ]only\b.{0,20}\btrain"
    r"|\btrain(?:ed|s|ing)? (?:entirely |only |directly |purely |exclusively )*"
    r"on (?:the )?(?:fineweb )?val(?:idation)? (?:set|shards?|split|file)\b"
    r"|\btrain (?:loader|files|data)\b.{0,60}\bpoint\w* (?:at|to) .{0,30}\bval(?:idation)?[ _]"
)
_ADAPTATION = re.compile(
    r"(?i)\bttt\b|test[- ]time|already|scored|evaluated|quant|adapt|legal\b.*if"
)
_TRAINING_FILES = ("train_files", "train_pattern", "train_shard_pattern")


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """Test-time training has rules of its own and is left to them."""
    findings = [f for claim in case.claims.logs for f in _files(claim)]
    findings += [f for claim in case.claims.claiming_logs for f in _local_build(claim, rule)]
    findings += [
        statement.finding("the author says that the model was trained on the validation set")
        for statement in statements(case.submission, _TRAINED_ON_VALIDATION)
        if not _ADAPTATION.search(statement.text)
    ]
    unknown = [c for c in case.claims.claiming_logs if c.log.train_shards is None]
    reason = f"{unknown[0].file.path}: the log names no training shards" if unknown else None
    if not case.claims.claiming_logs:
        reason = "no log carries a final score that could be read"
    return CheckResult(findings=tuple(findings), not_evaluated=reason)


def _files(claim: LogClaim) -> list[Finding]:
    return [
        Finding(
            message="the training files are the validation shards",
            file=str(claim.file.path),
            evidence=f"{name}: {claim.log.hyperparameters[name][:160]}",
        )
        for name in _TRAINING_FILES
        if "_val_" in claim.log.hyperparameters.get(name, "")
    ]


def _local_build(claim: LogClaim, rule: Rule) -> list[Finding]:
    shards, tokens = claim.log.train_shards or 0, claim.log.val_tokens or 0
    if shards < rule.parameters["local_build_shards"]:
        return []
    if tokens < rule.parameters["fewest_tokens_of_the_whole"]:
        return []
    return [
        Finding(
            message=f"{shards:,} training shards are those of a local build, whose training part "
            "by default begins after document 10,000 of the 50,000 that are scored",
            file=str(claim.file.path),
            line=claim.log.lines.get("train_shards"),
            evidence=f"{tokens:,} tokens scored",
        )
    ]
