"""Training must be the same whatever the validation data are, or must not see them."""

from verifier.evidence_checks.base import EvidenceCase
from verifier.findings import PASSED, CheckResult, Finding, cannot_tell, not_offered
from verifier.schemas.rule_yaml import Rule
from verifier.schemas.run_record_json import Independence


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
        return PASSED if test.is_same_artifact else _silent(test)
    seen = (
        f"seed {test.seed}: beside other validation data the training losses part at step "
        f"{test.first_step}, by up to {test.largest_gap_nats:.4f} nats"
    )
    if test.largest_gap_nats <= rule.parameters["max_gap_nats"]:
        return not_offered(f"{seen}, which the order of additions on a GPU can explain")
    return CheckResult(
        findings=(Finding(message=seen, file="independence/stdout.log"),),
    )


def _silent(test: Independence) -> CheckResult:
    """What came behind the last printed loss, or between two, went into the artifact alone."""
    if test.is_same_artifact is None:
        return not_offered("all training losses agree; no artifact was found to compare")
    return not_offered(
        "beside other validation data all training losses agree and the artifact differs: what was "
        "done between and behind those losses may know the text, or may differ from run to run"
    )
