"""What each rung takes on this machine: from runs that were measured here, else its walls alone.

A rung that ran here before takes what it took; the probes are put together from a short seed and
its evaluation. What nothing measured is only bounded, by the track's walls.
"""

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from verifier.errors import RunDirectoryError
from verifier.runs.journal import Journal
from verifier.schemas.run_record_json import Evidence, Rung, RunPlan, SeedMeasurement
from verifier.schemas.stream_record_json import NO_STREAM
from verifier.schemas.track_yaml import Track

NUM_TAPES = 17
"""Tapes that probes let a script score, the one with the instrument included."""
MAX_RUN_FOLDERS = 200
RUNGS: tuple[Rung, ...] = ("rehearsal", "floor", "probe", "rerun", "stream")


@dataclass(frozen=True, kw_only=True, slots=True)
class RungCost:
    """One rung's seconds here."""

    rung: Rung
    at_most_seconds: float | None
    """When the harness ends it; None where only the script's speed bounds it."""
    expected_seconds: float | None
    """None where nothing like it was measured here."""
    because: str

    def told(self) -> str:
        """A line in minutes."""
        about = "" if self.expected_seconds is None else f"about {self.expected_seconds / 60:.1f}"
        most = "" if self.at_most_seconds is None else f"at most {self.at_most_seconds / 60:.0f}"
        return f"{self.rung:<10}{about:<12}{most:<13}{self.because}"


def runs_here(plan: RunPlan, folder: Path = Path("runs")) -> tuple[Evidence, ...]:
    """Evidence of this very submission on this host and track, of any rung."""
    found = []
    for path in sorted(folder.glob("*/evidence.json"))[:MAX_RUN_FOLDERS]:
        try:
            evidence = Journal(path.parent).evidence()
        except RunDirectoryError:
            continue  # another version's, or cut short
        same = evidence.plan.submission_sha256 == plan.submission_sha256
        if same and evidence.plan.track == plan.track and evidence.host.hostname == platform.node():
            found.append(evidence)
    return tuple(found)


def rung_costs(plan: RunPlan, track: Track, known: Iterable[Evidence]) -> tuple[RungCost, ...]:
    """Every rung that runs something, in order."""
    seeds = {rung: [m for e in known if e.plan.rung == rung for m in _done(e)] for rung in RUNGS}
    return (
        _rehearsal(track, seeds),
        _floor(track, seeds),
        _probe(plan, track, seeds),
        _rerun(plan, track, seeds),
        _stream(plan, track, [e for e in known if e.plan.rung == "stream"]),
    )


Measured = dict[Rung, list[SeedMeasurement]]


def _done(evidence: Evidence) -> tuple[SeedMeasurement, ...]:
    return tuple(m for m in evidence.measurements if m.outcome == "completed")


def _wall(seeds: Iterable[SeedMeasurement]) -> float | None:
    walls = [m.wall_seconds for m in seeds]
    return median(walls) if walls else None


def _rehearsal(track: Track, seeds: Measured) -> RungCost:
    known = _wall([*seeds["rehearsal"], *seeds["probe"]])
    return RungCost(
        rung="rehearsal",
        at_most_seconds=track.rehearsal.wall_seconds.value,
        expected_seconds=known,
        because="one short seed",
    )


def _floor(track: Track, seeds: Measured) -> RungCost:
    training = 60 * track.floor.train_minutes.value
    return RungCost(
        rung="floor",
        at_most_seconds=training + track.floor.other_seconds.value,
        expected_seconds=_wall(seeds["floor"]),
        because=f"{training / 60:g} min of training on a world of our own, and its scoring",
    )


def _probe(plan: RunPlan, track: Track, seeds: Measured) -> RungCost:
    """A short training and then evaluations; or as many whole runs, where one command does both."""
    short = _wall([*seeds["rehearsal"], *seeds["probe"]])
    small = [*seeds["rehearsal"], *seeds["probe"]]
    evaluations = [s for m in small if (s := _evaluation_seconds(m)) is not None]
    each = short if plan.evaluation is None else median(evaluations) if evaluations else None
    tapes = NUM_TAPES - (plan.evaluation is None)
    what = "whole short runs" if plan.evaluation is None else "evaluations"
    return RungCost(
        rung="probe",
        at_most_seconds=(1 + tapes) * track.rehearsal.probe_wall_seconds.value,
        expected_seconds=None if short is None or each is None else short + tapes * each,
        because=f"one short seed and {tapes} {what}",
    )


def _evaluation_seconds(seed: SeedMeasurement) -> float | None:
    """From a cold start to the score."""
    phases = seed.phases
    if phases.load is None or phases.evaluation is None:
        return None
    return phases.load + phases.evaluation + (phases.finish or 0.0)


def _rerun(plan: RunPlan, track: Track, seeds: Measured) -> RungCost:
    count = max(len(plan.seeds), int(track.min_seeds.value))
    full = _wall([*seeds["rerun"], *seeds["stream"]])
    return RungCost(
        rung="rerun",
        at_most_seconds=count * track.limits.hard_wall_seconds.value,
        expected_seconds=None if full is None else count * full,
        because=f"{count} seeds with full budgets",
    )


def _stream(plan: RunPlan, track: Track, known: list[Evidence]) -> RungCost:
    """A session a seed, and of the first seed three more: it decodes, writes, and is scored."""
    if plan.evaluation is not None and plan.evaluation.stream is None:
        return RungCost(
            rung="stream", at_most_seconds=None, expected_seconds=None, because=NO_STREAM
        )
    count = max(len(plan.seeds), int(track.min_seeds.value))
    took = [
        _all_seconds(e)
        for e in known
        if e.streams and all(s.not_evaluated is None for s in e.streams)
    ]
    wall, streamed = track.limits.hard_wall_seconds.value, track.stream.most_seconds.value
    return RungCost(
        rung="stream",
        # A round begins only where one of twice its length would end; a decoder needs as long.
        at_most_seconds=count * (wall + streamed) + streamed + 2 * wall,
        expected_seconds=median(took) if took else None,
        because=f"{count} seeds with full budgets, then one token after another, decoded and drawn",
    )


def _all_seconds(evidence: Evidence) -> float:
    streamed = sum(
        s.wall_seconds + (s.decoded.wall_seconds if s.decoded else 0) for s in evidence.streams
    )
    drawn = evidence.sampled.wall_seconds if evidence.sampled else 0.0
    return streamed + drawn + sum(m.wall_seconds for m in evidence.measurements)
