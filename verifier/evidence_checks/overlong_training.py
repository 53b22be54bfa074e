"""Training seconds under the profile's clock convention against the track's budget."""

from verifier.evidence_checks.base import EvidenceCase, each_seed, log_file
from verifier.findings import CheckResult, Finding
from verifier.schemas.rule_yaml import Rule
from verifier.schemas.run_record_json import SeedClaimed, SeedMeasurement


def check(case: EvidenceCase, rule: Rule) -> CheckResult:
    """A budget with the overrun that a last step may have."""
    return each_seed(case, rule, _claimed, _measured)


def _allowed(case: EvidenceCase) -> float:
    limits = case.track.limits
    return limits.train_seconds.value + limits.train_overrun_seconds.value


def _claimed(seed: SeedClaimed, case: EvidenceCase, rule: Rule) -> Finding | None:
    budget, clock = case.track.limits.train_seconds.value, case.profile.clock
    loop = seed.train_seconds
    if loop is None:
        return None
    seconds = loop + counted_calibration(seed.calibration_seconds, clock)
    if clock == "everything":
        seconds += seed.serialize_seconds or 0.0
    if seconds <= max(_allowed(case), budget + _last_step(seed, rule)):
        return _untimed_calibration(seed, budget, clock)
    return Finding(
        message=f"{seconds:.1f} s of training are claimed, "
        f"{seconds - budget:.1f} s over the budget",
        file=seed.source,
        line=seed.lines.get("train_seconds"),
        evidence=f"clock '{clock}': loop {loop:.1f} s"
        + _stated("calibration", seed.calibration_seconds)
        + _stated("packing", seed.serialize_seconds),
    )


def _measured(seed: SeedMeasurement, case: EvidenceCase, rule: Rule) -> Finding | str | None:
    budget, clock = case.track.limits.train_seconds.value, case.profile.clock
    allowed = _allowed(case)
    seconds = training_seconds(seed, clock)
    if seconds is None:
        return f"seed {seed.seed}: no line of the run marks its training time"
    if seconds <= allowed:
        left_seconds = allowed - seconds
        return _unproved_loop(seed, clock) or _unproved_rest(seed, left_seconds, clock, rule)
    return Finding(
        message=f"seed {seed.seed}: {seconds:.1f} s of training, "
        f"{seconds - budget:.1f} s over the budget",
        file=log_file(seed),
        evidence=f"clock '{clock}': script {seed.script_train_seconds} s, "
        f"ours {seed.phases.training} s",
    )


def training_seconds(seed: SeedMeasurement, clock: str) -> float | None:
    """Seconds that count as training; None when neither we nor the script could tell.

    The larger of the script's number and ours: a script cannot shorten its time by its own clock,
    and our loop time runs only from the first to the last step line.
    """
    phases = seed.phases
    known = [s for s in (seed.script_train_seconds, phases.training) if s is not None]
    if not known:
        return None
    if clock == "everything":
        outside = [phases.start, phases.training, phases.serialise]
        known = [s for s in (*outside, phases.validation) if s is not None]
        return None if None in outside else sum(known)
    return max(known) + counted_calibration(seed.script_calibration_seconds, clock)


def counted_calibration(calibration_seconds: float | None, clock: str) -> float:
    """What calibration adds to the loop: all of it, unless the loop alone counts."""
    return 0.0 if clock == "loop" else calibration_seconds or 0.0


def _unproved_loop(seed: SeedMeasurement, clock: str) -> str | None:
    """Why a script's word is all there is of its loop; None where our clock saw it, too."""
    if clock == "everything" or seed.phases.training is not None:
        return None
    return (
        f"seed {seed.seed}: no step line of the run shows its training to our clock; only the "
        f"script says that it took {seed.script_train_seconds:.1f} s"
    )


def _unproved_start(seed: SeedMeasurement, left_seconds: float, rule: Rule) -> str | None:
    """Why a script's word that it only started and compiled is not enough; None where it is."""
    passed, busy = seed.phases.start or 0.0, seed.start_gpu_seconds or 0.0
    only_said = "before the first step was told; only the script says that no training ran then"
    if passed - rule.parameters["start_seconds"] > left_seconds:
        return f"seed {seed.seed}: {passed:.1f} s passed {only_said}"
    if busy - rule.parameters["start_gpu_seconds"] > left_seconds:
        return f"seed {seed.seed}: its GPUs worked for {busy:.1f} s {only_said}"
    return None


def _unproved_validation(seed: SeedMeasurement, left_seconds: float, rule: Rule) -> str | None:
    """Why a script's word that it only validated is not enough; None where it is."""
    start, each = (
        rule.parameters["validation_start_seconds"],
        rule.parameters["validation_pass_seconds"],
    )
    validation = seed.phases.validation or 0.0
    if validation - (start + each * seed.num_validations) <= left_seconds:
        return None
    return (
        f"seed {seed.seed}: {validation:.1f} s passed among the training steps before "
        f"{seed.num_validations} validation lines; only the script says that no training ran then"
    )


def _unproved_calibration(seed: SeedMeasurement, left_seconds: float, clock: str) -> str | None:
    """Why a script's word that calibration was short is not enough; None where it is."""
    said, ours = seed.script_calibration_seconds, seed.phases.calibration
    if clock != "loop_plus_calibration" or said is None:
        return None
    if ours is None:
        return f"seed {seed.seed}: only the script says that calibration took {said:.1f} s"
    if ours - said <= left_seconds:
        return None
    return (
        f"seed {seed.seed}: {ours:.1f} s passed by our clock before calibration was told to be "
        f"over; only the script says that it took {said:.1f} s of them"
    )


def _unproved_rest(
    seed: SeedMeasurement, left_seconds: float, clock: str, rule: Rule
) -> str | None:
    """What else of the run only the script says held no training; None where nothing does."""
    uncounted = (_unproved_start, _unproved_validation) if clock != "everything" else ()
    doubts = [unproved(seed, left_seconds, rule) for unproved in uncounted]
    return next(filter(None, doubts), None) or _unproved_calibration(seed, left_seconds, clock)


def _last_step(seed: SeedClaimed, rule: Rule) -> float:
    """Seconds that the step behind the budget's end may have taken, by the log's own count."""
    average = (seed.train_seconds or 0.0) / seed.num_steps if seed.num_steps else 0.0
    return average if average <= rule.parameters["longest_step_seconds"] else 0.0


def _untimed_calibration(seed: SeedClaimed, budget: float, clock: str) -> Finding | None:
    """A loop that fills the budget leaves no time for the calibration that follows it."""
    is_open = seed.calibrates_on_data and seed.calibration_seconds is None
    if clock == "loop" or not is_open or (seed.train_seconds or 0) < budget:
        return None
    return Finding(
        message=f"the loop took {seed.train_seconds:.1f} s of {budget:g} s and calibration on "
        "data follows",
        file=seed.source,
        line=seed.lines.get("calibration_data"),
        evidence=f"clock '{clock}': the log does not time its calibration",
    )


def _stated(phase: str, seconds: float | None) -> str:
    return "" if seconds is None else f", {phase} {seconds:.1f} s"
