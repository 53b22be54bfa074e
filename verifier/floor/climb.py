"""The rung itself: run on the world, then set what was claimed against what is possible."""

from dataclasses import dataclass

import numpy as np

from verifier.claims.training_log import read_training_log
from verifier.floor.assessment import Allowance, Claimed, assess
from verifier.floor.world import World
from verifier.runs.execute import execute
from verifier.runs.harness import Executed, Harness
from verifier.runs.machine.open_watch import OpenWatch
from verifier.runs.plan import PreparedRun
from verifier.runs.scores import KEPT_LOSSES
from verifier.schemas.floor_record_json import FloorRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Climbed:
    """The run, and what it says of the floor."""

    executed: Executed
    floor: FloorRecord


def climb(world: World, prepared: PreparedRun, harness: Harness) -> Climbed:
    """Run the plan, whose data is the world's, and assess its first seed.

    Raises:
        SandboxUnavailableError: the sandbox could not start.
        RunDirectoryError: a file could not be written.
        KeyboardInterrupt: the running process was killed.
    """
    dataset = prepared.data.dataset.resolve()
    with OpenWatch([dataset]) as watch:
        executed = execute(prepared, harness)
    first = executed.measurements[0]
    if first.outcome != "completed":
        record = FloorRecord(world=world.record, not_evaluated=f"{first.outcome}: {first.detail}")
        return Climbed(executed=executed, floor=record)
    folder = harness.journal.seed_folder(first.seed)
    log = read_training_log((folder / "stdout.log").read_text("utf-8", "replace"))
    kept = folder / KEPT_LOSSES
    has_read = any("_val_" in path.name for path in watch.opened)
    claimed = Claimed(
        final=log.headline,
        stated_tokens=log.val_tokens,
        losses=np.fromfile(kept, dtype="<f4") if kept.exists() else None,
        has_read_tape=has_read or (False if watch.is_complete else None),
    )
    families = harness.track.dataset.families
    allowance = Allowance(
        tolerance_nats=harness.track.floor.tolerance_nats.value,
        known_counts=[f.scored_tokens for f in families],
    )
    return Climbed(executed=executed, floor=assess(world, claimed, allowance))
