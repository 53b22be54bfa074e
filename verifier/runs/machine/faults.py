"""Did the machine fail a run? Judged from telemetry and how the processes ended, never the score.

A submission cannot call these forth by itself within its limits: what counts is what the driver
says of its GPUs, and what is used up by others.
"""

from collections.abc import Sequence

from verifier.runs.machine.telemetry import Sample
from verifier.sandbox.base import ExecResult

MAX_HOT_SHARE = 0.1
"""Share of samples in which a GPU may be clocked down by heat or its supply."""
MAX_OTHERS_SHARE = 0.5
"""Share of the machine's cores that others may use, over the run, when none is left idle."""
SATURATED_SHARE = 0.95
MIN_WAITED_SHARE = 0.3
"""Share of the time in which a run's first threads wanted a core that they had to wait for one.

Idle to busy on two cores: a run that works waits 0 to 0.8 of it; one that sleeps wants none.
"""
MIN_WAITED_CORES = 0.1
"""Less is what waking up costs a run that sleeps."""
MIN_FREE_DISK_BYTES = 64 << 20
DISK_FULL = f"the disk had less than {MIN_FREE_DISK_BYTES:,} bytes left"
MIN_FREE_MEMORY_SHARE = 0.02
SIGKILL = 9


def machine_fault(
    results: Sequence[ExecResult],
    samples: Sequence[Sample],
    num_cpus: int,
    memory_bytes: int,
    rank_failed: bool = False,
) -> str | None:
    """Why an attempt at a seed does not count; None where the machine did its part.

    Args:
        results: of the seed's processes, in order.
        samples: of the attempt.
        num_cpus: cores of the machine.
        memory_bytes: of the machine.
        rank_failed: whether a rank had ended by itself, with an error, before the limit.
    """
    if not samples:
        return None
    if fault := _gpu_fault(samples):
        return fault
    last = results[-1]
    if last.ended_well:
        return None
    if min(s.disk_free_bytes for s in samples) < MIN_FREE_DISK_BYTES:
        return DISK_FULL
    free, held = min((s.memory_free_bytes, s.tree_bytes) for s in samples)
    if (
        last.signal == SIGKILL
        and free < MIN_FREE_MEMORY_SHARE * memory_bytes
        and 2 * held < (memory_bytes - free)
    ):
        return f"memory ran out, and {memory_bytes - free - held:,} bytes of it were others'"
    if last.ending != "wall_limit" or rank_failed:
        return None
    return _crowded_out(samples, num_cpus)


def _crowded_out(samples: Sequence[Sample], num_cpus: int) -> str | None:
    """Whether a run that wanted to work found too few cores to work on."""
    busy = sum(s.cpu_busy for s in samples) / len(samples)
    own = sum(s.own_cpu_busy for s in samples) / len(samples)
    others = busy - own
    is_crowded = busy > SATURATED_SHARE * num_cpus and others > MAX_OTHERS_SHARE * num_cpus
    ran = sum(s.lead_busy for s in samples) / len(samples)
    waited = sum(s.lead_waited for s in samples) / len(samples)
    has_waited = waited > max(MIN_WAITED_CORES, MIN_WAITED_SHARE * (ran + waited))
    if not (is_crowded and has_waited):
        return None
    return f"others kept {others:.1f} of {num_cpus} cores busy while it ran out of time"


def _gpu_fault(samples: Sequence[Sample]) -> str | None:
    """A GPU that was lost, lost bits, or could not keep its clock."""
    for index, first in enumerate(samples[0].gpus):
        seen = [sample.gpus[index] for sample in samples if index < len(sample.gpus)]
        lost = next((gpu.fault for gpu in seen if gpu.fault), None)
        if lost or len(seen) < len(samples):
            return f"GPU {index} was lost: {lost or 'it is gone'}"
        errors = (seen[-1].uncorrected_errors or 0) - (first.uncorrected_errors or 0)
        if errors > 0:
            return f"GPU {index}: {errors} uncorrected memory errors"
        hot_share = sum(gpu.is_hot for gpu in seen) / len(seen)
        if hot_share > MAX_HOT_SHARE:
            return f"GPU {index} was clocked down by heat or supply in {hot_share:.0%} of the run"
    return None
