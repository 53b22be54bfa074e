"""No validation document may stand in the training data."""

from verifier.evidence_checks.base import EvidenceCase
from verifier.findings import PASSED, CheckResult, Finding, not_offered
from verifier.schemas.rule_yaml import Rule


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """By the share of documents that were found; a search of a part passes nothing."""
    record = case.evidence.probe if case.evidence else None
    overlap = record.overlap if record else None
    if overlap is None:
        return not_offered("the training data were not searched; --rung probe does it")
    if overlap.num_found > rule.parameters["max_share"] * overlap.num_documents:
        message = (
            f"{overlap.num_found:,} of {overlap.num_documents:,} validation documents stand in the "
            f"{overlap.searched_tokens:,} training tokens that were searched, {overlap.num_same:,} "
            "of them word for word"
        )
        return CheckResult(findings=(Finding(message=message),))
    if overlap.searched_tokens < overlap.training_tokens:
        return not_offered(
            f"nothing in the first {overlap.searched_tokens:,} training tokens; the other "
            f"{overlap.training_tokens - overlap.searched_tokens:,} were not searched"
        )
    return PASSED
