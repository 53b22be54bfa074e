"""Evaluation seconds under the profile's clock convention against the track's budget."""

from verifier.evidence_checks.base import EvidenceCase, each_seed, log_file
from verifier.findings import CheckResult, Finding
from verifier.schemas.rule_yaml import Rule
from verifier.schemas.run_record_json import SeedClaimed, SeedMeasurement


def evaluation_seconds(seed: SeedMeasurement, clock: str) -> float | None:
    """Seconds that count as evaluation; None when neither we nor the script could tell.

    Under `everything` our phase counts, which holds loading and compile warm-up. Under the others
    the script's own timer counts, but never beyond what we saw pass.
    """
    script, ours = seed.script_eval_seconds, seed.phases.evaluation
    if clock == "everything" or script is None:
        return ours
    return script if ours is None else min(script, ours)


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """A budget of its own, separate from training's."""
    budget, clock = case.track.limits.eval_seconds.value, case.profile.clock

    def on_claim(seed: SeedClaimed) -> Finding | None:
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

    def on_measurement(seed: SeedMeasurement) -> Finding | str | None:
        seconds = evaluation_seconds(seed, clock)
        if seconds is None:
            return f"seed {seed.seed}: no line of the run marks its evaluation time"
        if seconds <= budget:
            return None
        return Finding(
            message=f"seed {seed.seed}: {seconds:.1f} s of evaluation, "
            f"{seconds - budget:.1f} s over the budget",
            file=log_file(seed),
            evidence=f"clock '{clock}': script {seed.script_eval_seconds} s, "
            f"ours {seed.phases.evaluation} s",
        )

    return each_seed(case, on_claim, on_measurement)
