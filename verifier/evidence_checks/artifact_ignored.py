"""Evaluation on another artifact must not give the same score."""

from verifier.evidence_checks.base import EvidenceCase
from verifier.findings import CheckResult, Finding, cannot_tell, not_offered
from verifier.schemas.rule_yaml import Rule

UNDIVIDED = "no pgolf.yaml divides training from evaluation"


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """A refusal alone tells nothing: evaluation may test the artifact and then not use it."""
    if case.evidence is None:
        return cannot_tell("nothing was run")
    if case.evidence.plan.evaluation is None:
        return not_offered(UNDIVIDED)
    scored = [m for m in case.evidence.mutations if m.mutated_bpb is not None]
    if not scored:
        refused = "evaluation refused the corrupted artifact, and there is no other to replay it on"
        return cannot_tell(refused if case.evidence.mutations else "no seed completed")
    findings = tuple(
        Finding(
            message=f"seed {m.seed}: {m.val_bpb:.8f} BPB with its own artifact, "
            f"{m.mutated_bpb:.8f} with {_KINDS[m.kind]}",
            file=f"with_{m.kind}/stdout.log",
        )
        for m in scored
        if abs((m.mutated_bpb or 0.0) - m.val_bpb) <= rule.parameters["same_score_bpb"]
    )
    return CheckResult(findings=findings)


_KINDS = {"corrupted": "a corrupted one", "other_seed": "another seed's"}
