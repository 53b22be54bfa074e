"""The claimed mean against the mean of our runs, in units of seed noise."""

import math
import statistics

from verifier.evidence_checks.base import EvidenceCase
from verifier.findings import PASSED, CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """Gap over noise: (measured − claimed) / (σ √(1/n₁ + 1/n₂)), with the ledger's pooled σ."""
    if case.evidence is None:
        return cannot_tell("nothing was run")
    claimed = [s.val_bpb for s in case.claims.seeds if s.val_bpb is not None]
    if not claimed and case.claims.val_bpb is not None:
        claimed = [case.claims.val_bpb]
    measured = [m.val_bpb for m in case.completed if m.val_bpb is not None]
    if not claimed:
        return cannot_tell("the folder claims no score")
    if not measured:
        return cannot_tell("no seed completed with a score")
    gap = statistics.fmean(measured) - statistics.fmean(claimed)
    sigma = case.track.ledger_pooled_std_bpb.value
    z = gap / (sigma * math.sqrt(1 / len(measured) + 1 / len(claimed)))
    if z <= rule.parameters["max_z"]:
        return PASSED
    return CheckResult(
        findings=(
            Finding(
                message=f"measured {statistics.fmean(measured):.5f} BPB, claimed "
                f"{statistics.fmean(claimed):.5f}: {gap:+.5f}, z = {z:.1f}",
                evidence=f"{len(measured)} measured against {len(claimed)} claimed runs, "
                f"σ = {sigma:g} BPB",
            ),
        )
    )
