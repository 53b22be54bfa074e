"""Our run of an author's seed against the author's log of it."""

import math

from verifier.evidence_checks.base import EvidenceCase
from verifier.findings import CheckResult, Finding, cannot_tell, not_offered
from verifier.schemas.rule_yaml import Rule
from verifier.schemas.run_record_json import SeedClaimed, SeedMeasurement


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """Gap over noise: (measured − claimed) / (σ √2), with the ledger's pooled σ between seeds."""
    if case.evidence is None:
        return cannot_tell("nothing was run")
    runs = case.evidence.replications
    if not runs:
        return not_offered("no seed of the author was run again (--replicate N)")
    claimed = {seed.seed: seed for seed in case.claims.seeds if seed.val_bpb is not None}
    noise_bpb = case.track.ledger_pooled_std_bpb.value * math.sqrt(2)
    findings = []
    for run in runs:
        claim = claimed.get(run.seed)
        gap = _gap_bpb(run, claim)
        if claim is None or gap is None or gap <= rule.parameters["max_z"] * noise_bpb:
            continue
        findings.append(
            Finding(
                message=f"seed {run.seed}: measured {run.val_bpb:.5f} BPB, its log says "
                f"{claim.val_bpb:.5f}: {gap:+.5f}, z = {gap / noise_bpb:.1f}",
                file=f"replica_{run.seed}/stdout.log",
                evidence=_pace(run, claim),
            )
        )
    unscored = [run.seed for run in runs if _gap_bpb(run, claimed.get(run.seed)) is None]
    reason = f"the author's seed {unscored[0]} has no score of both" if unscored else None
    return CheckResult(findings=tuple(findings), not_evaluated=reason)


def _gap_bpb(run: SeedMeasurement, claim: SeedClaimed | None) -> float | None:
    known = claim is not None and claim.val_bpb is not None and run.val_bpb is not None
    return (run.val_bpb or 0.0) - (claim.val_bpb or 0.0) if known and claim else None


def _pace(run: SeedMeasurement, claim: SeedClaimed) -> str:
    """Whether it is the machine: steps here and there, and whether the losses are the same."""
    if run.losses_sha256 is not None and run.losses_sha256 == claim.losses_sha256:
        return "the training losses are those of the log, to the last digit"
    return f"{run.num_steps} steps here, {claim.num_steps} in the log"
