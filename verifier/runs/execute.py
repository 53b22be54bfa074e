"""RunPlan + Sandbox → measurements, one run after another, each on disk before the next starts."""

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from verifier.runs.delivery import disk_errors
from verifier.runs.harness import Executed, Harness
from verifier.runs.journal import recorded, write_record
from verifier.runs.machine.faults import DISK_FULL, MIN_FREE_DISK_BYTES, machine_fault
from verifier.runs.machine.telemetry import Sample, Telemetry, gpu_seconds
from verifier.runs.measure import SeedRun, failed_by_machine, measure
from verifier.runs.plan import PreparedRun
from verifier.runs.processes import Setting
from verifier.runs.replays import check_independence, mutate
from verifier.runs.seed_run import run_seed
from verifier.sandbox.scratch import remove_tree
from verifier.schemas.run_record_json import Attempt, SeedMeasurement

STOPPED = "the harness was stopped during this attempt"


def execute(prepared: PreparedRun, harness: Harness) -> Executed:
    """Run every planned seed that has no measurement yet, in order; then what checks them.

    Raises:
        SandboxUnavailableError: the sandbox could not start.
        RunDirectoryError: a file could not be written; finished seeds are on disk.
        KeyboardInterrupt: the running seed was killed; finished seeds are on disk.
    """
    plan, journal = prepared.plan, harness.journal
    setting = Setting(prepared=prepared, harness=harness)
    measurements = tuple(
        _finish(seed, journal.seed_folder(seed), setting, f"seed {seed} ({i}/{len(plan.seeds)})")
        for i, seed in enumerate(plan.seeds, start=1)
    )
    return Executed(
        measurements=measurements,
        replications=tuple(
            _finish(seed, journal.replica_folder(seed), setting, f"the author's seed {seed}")
            for seed in plan.replicated_seeds
        ),
        mutations=() if plan.rung == "floor" else mutate(setting, measurements),
        independence=check_independence(setting, measurements[0]),
    )


def _finish(seed: int, folder: Path, setting: Setting, label: str) -> SeedMeasurement:
    """The seed's measurement: the one on disk, else one that is made now.

    What the machine failed is run again, once a start of the harness; what the submission did, a
    score, a crash or a breach of a limit, stands for ever.
    """
    observer = setting.harness.observer
    measurement = recorded(folder / "measurement.json", SeedMeasurement)
    if measurement is not None and measurement.outcome == "infrastructure":
        if why_not := _still_unfit(measurement.detail, folder, setting):
            observer.note(f"seed {seed}: not run again: {why_not}")
        else:
            observer.note(f"seed {seed}: the machine failed it: {measurement.detail}; run again")
            _note_failure(folder, measurement, setting)
            setting.harness.journal.forget_conclusions(seed)
            measurement = None
    elif measurement is None and folder.exists():
        stopped = Attempt(outcome="infrastructure", reason=STOPPED, wall_seconds=None)
        setting.harness.journal.note_attempt(folder, stopped)
    repeated = measurement is not None
    if measurement is None:
        observer.run_started(label)
        measurement = _run(seed, folder, setting)
        write_record(folder / "measurement.json", measurement)
    observer.seed_finished(measurement, repeated)
    return measurement


def _note_failure(folder: Path, failed: SeedMeasurement, setting: Setting) -> None:
    """Put the attempt that a measurement tells of to those that do not count.

    Whoever was stopped between this and the next attempt finds it there.
    """
    journal = setting.harness.journal
    attempt = Attempt(
        outcome="infrastructure", reason=failed.detail, wall_seconds=failed.wall_seconds
    )
    if attempt not in journal.attempts(folder):
        journal.note_attempt(folder, attempt)


def _still_unfit(fault: str, folder: Path, setting: Setting) -> str | None:
    """Why a fault would only come again; None where the machine may have been mended.

    A submission can fill a disk that is smaller than its own limit whenever it dislikes its score:
    it gets no other attempt before there is room for all that it may write.
    """
    if fault != DISK_FULL:
        return None
    needed = int(setting.harness.track.limits.scratch_bytes.value) + MIN_FREE_DISK_BYTES
    free = psutil.disk_usage(str(folder.parent)).free
    if free >= needed:
        return None
    return (
        f"{DISK_FULL}; {free:,} are free now, and a run may write {needed:,}: make room, then "
        "--resume, or give another --out"
    )


def _run(seed: int, folder: Path, setting: Setting) -> SeedMeasurement:
    """Attempt a seed until the machine does its part, or the retries of the plan are used up."""
    journal, retries = setting.harness.journal, setting.prepared.plan.retries
    while True:
        tried = _attempt(seed, folder, setting)
        attempts, fault = journal.attempts(folder), tried.fault
        if fault is None:
            return _measured(tried, setting, attempts)
        used_up = sum(attempt.reason != STOPPED for attempt in attempts) >= retries
        if used_up or _still_unfit(fault, folder, setting):
            return failed_by_machine(_measured(tried, setting, attempts), fault)
        setting.harness.observer.note(f"seed {seed}: {fault}; run again")
        wall_seconds = tried.run.timeline.end
        failed = Attempt(outcome="infrastructure", reason=fault, wall_seconds=wall_seconds)
        journal.note_attempt(folder, failed)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tried:
    """One run of a seed, and what the machine did to it."""

    run: SeedRun
    samples: list[Sample]
    fault: str | None


def _attempt(seed: int, folder: Path, setting: Setting) -> _Tried:
    """Run a seed once; the machine is judged before the score is looked at."""
    with disk_errors(folder):
        remove_tree(folder)  # a run that was cut short; nothing in it counts
        folder.mkdir()
    with Telemetry(folder) as telemetry:
        run = run_seed(seed, folder, setting)
    results = [stage.result for stage in run.stages]
    memory_bytes, num_cpus = psutil.virtual_memory().total, os.cpu_count() or 1
    crashed = run.stages[-1].rank_failed
    fault = machine_fault(results, telemetry.samples, num_cpus, memory_bytes, crashed)
    return _Tried(run=run, samples=telemetry.samples, fault=fault)


def _measured(tried: _Tried, setting: Setting, attempts: tuple[Attempt, ...]) -> SeedMeasurement:
    seen = measure(tried.run, setting.text)
    busy_seconds = gpu_seconds(tried.samples, seen.phases.start)
    return seen.model_copy(update={"attempts": attempts, "start_gpu_seconds": busy_seconds})
