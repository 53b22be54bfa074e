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

PROBES = {None: 7, "apart": 8, "alone": 9}
"""Tapes that probes plan for what a contract promises of documents; fewer where these are few."""
MOVED_PROBES = 5
"""More, at least, where documents hang on each other: all changes but the first one by itself."""
REPEATED_PROBES = 3
"""More, at most, where something moves that must not: the last change, and two scorings again."""
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


def rung_costs(
    plan: RunPlan, track: Track, known: Iterable[Evidence], promise: str | None = None
) -> tuple[RungCost, ...]:
    """Every rung that runs something, in order.

    Args:
        plan: of a run, on any rung.
        track: the walls.
        known: what ran here.
        promise: what the contract says of documents: alone, apart or nothing.
    """
    known = tuple(known)
    seeds = {rung: [m for e in known if e.plan.rung == rung for m in _done(e)] for rung in RUNGS}
    return (
        _rehearsal(track, seeds),
        _floor(track, seeds),
        _probe(plan, track, seeds, _Probes(promise=promise, known=known)),
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Probes:
    """What tells how many tapes there will be, and what they took."""

    promise: str | None
    known: tuple[Evidence, ...]

    def fewest_and_most(self) -> tuple[int, int]:
        """Where nothing moves, and where everything does."""
        fewest = PROBES.get(self.promise, PROBES[None])
        return fewest, fewest + MOVED_PROBES + REPEATED_PROBES

    def probable(self) -> int:
        """Who promises nothing of documents may well learn from one for the next."""
        fewest, _ = self.fewest_and_most()
        return fewest if self.promise in PROBES and self.promise else fewest + MOVED_PROBES

    def took(self) -> list[float]:
        """Seconds of the probes here."""
        probes = [e.probe for e in self.known if e.probe is not None]
        return [probe.tapes_seconds for probe in probes if probe.not_evaluated is None]


def _probe(plan: RunPlan, track: Track, seeds: Measured, probes: _Probes) -> RungCost:
    """A short training and then evaluations; or as many whole runs, where one command does both."""
    small = [*seeds["rehearsal"], *seeds["probe"]]
    short = _wall(small)
    evaluations = [s for m in small if (s := _evaluation_seconds(m)) is not None]
    each = short if plan.evaluation is None else median(evaluations) if evaluations else None
    instrument = plan.evaluation is not None
    fewest, most = (number + instrument for number in probes.fewest_and_most())
    what = "whole short runs" if plan.evaluation is None else "evaluations"
    because = f"one short seed and {fewest} {what}, up to {most} where losses move"
    tapes = median(probes.took()) if probes.took() else None
    if tapes is None and each is not None:
        because += f"; {each:.1f} s each at the first seed's speed"
        tapes = (probes.probable() + instrument) * each
    return RungCost(
        rung="probe",
        at_most_seconds=(1 + most) * track.rehearsal.probe_wall_seconds.value,
        expected_seconds=None if short is None or tapes is None else short + tapes,
        because=because,
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
