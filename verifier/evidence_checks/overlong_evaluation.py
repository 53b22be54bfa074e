"""Evaluation seconds under the profile's clock convention against the track's budget.

Our clock runs from the packed artifact to the final score; where evaluation is a process of its
own, from its first look at validation data, before which no token can be scored, or from its launch
where everything counts. What it shows to be within the budget passes; a script's own timer can
break the rule and never pass it.
"""

from verifier.evidence_checks.base import EvidenceCase, each_seed, log_file
from verifier.findings import CheckResult, Finding
from verifier.schemas.rule_yaml import Rule
from verifier.schemas.run_record_json import SeedClaimed, SeedMeasurement


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """A budget of its own, separate from training's."""
    return each_seed(case, rule, _claimed, _measured)


def _claimed(seed: SeedClaimed, case: EvidenceCase, rule: Rule) -> Finding | None:
    budget, clock = case.track.limits.eval_seconds.value, case.profile.clock
    if seed.eval_seconds is None:
        return None
    outside = (seed.compile_warmup_seconds, seed.deserialize_seconds)
    uncounted = sum(s for s in outside if s is not None) if clock == "everything" else 0.0
    seconds = seed.eval_seconds + uncounted
    if seconds <= budget:
        return None
    return Finding(
        message=f"{seconds:.1f} s of evaluation are claimed, "
        f"{seconds - budget:.1f} s over the budget",
        file=seed.source,
        line=seed.lines.get("eval_seconds"),
        evidence=f"clock '{clock}': scoring {seed.eval_seconds:.1f} s, warm-up and loading "
        f"{uncounted:.1f} s",
    )


def _measured(seed: SeedMeasurement, case: EvidenceCase, rule: Rule) -> Finding | str | None:
    budget, clock = case.track.limits.eval_seconds.value, case.profile.clock
    ours, script = counted_seconds(seed, clock), seed.script_eval_seconds
    if ours is None:
        return f"seed {seed.seed}: no line of the run marks its evaluation"
    if ours <= budget:
        return None
    seconds = ours if clock == "everything" or script is None else script
    if seconds <= budget:
        return (
            f"seed {seed.seed}: {ours:.1f} s passed by our clock, warm-up and loading among "
            f"them; only the script says that {seconds:.1f} s of them were scoring"
        )
    return Finding(
        message=f"seed {seed.seed}: {seconds:.1f} s of evaluation, "
        f"{seconds - budget:.1f} s over the budget",
        file=log_file(seed),
        evidence=f"clock '{clock}': script {seed.script_eval_seconds} s, ours {ours} s",
    )


def counted_seconds(seed: SeedMeasurement, clock: str) -> float | None:
    """Our seconds of evaluation; loading and compiling before the first look count where all do."""
    scoring, load = seed.phases.evaluation, seed.phases.load
    if scoring is None:
        return None
    return scoring + (load or 0.0) if clock == "everything" else scoring
