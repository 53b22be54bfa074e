"""Training must be the same whatever the validation data are, or must not see them."""

from verifier.evidence_checks.base import EvidenceCase
from verifier.findings import PASSED, CheckResult, Finding, cannot_tell, not_offered
from verifier.schemas.rule_yaml import Rule


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """Proved from inside the training sandbox, else by a second run beside other data."""
    evidence = case.evidence
    if evidence is None:
        return cannot_tell("nothing was run")
    if evidence.plan.evaluation is not None and case.hides_validation:
        return PASSED
    test = evidence.independence
    if test is None:
        return not_offered("one process trains and evaluates; --independence tests it")
    if test.num_losses == 0:
        return not_offered("the two runs print no training loss at a common step")
    if test.first_step is None:
        return PASSED
    seen = (
        f"seed {test.seed}: beside other validation data the training losses part at step "
        f"{test.first_step}, by up to {test.largest_gap_nats:.4f} nats"
    )
    if test.largest_gap_nats <= rule.parameters["max_gap_nats"]:
        return not_offered(f"{seen}, which the order of additions on a GPU can explain")
    return CheckResult(
        findings=(Finding(message=seen, file="independence/stdout.log"),),
    )
