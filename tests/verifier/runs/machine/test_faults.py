"""When a failed run is the machine's fault, and when it is not."""

from dataclasses import replace

import pytest

from verifier.runs.machine.faults import machine_fault
from verifier.runs.machine.gpu_sensors import GpuSample
from verifier.runs.machine.telemetry import Sample
from verifier.sandbox.base import ExecResult

MEMORY_BYTES = 2**34
WELL = ExecResult(
    ending="exited",
    exit_code=0,
    signal=None,
    wall_seconds=10,
    peak_memory_bytes=0,
    output_bytes=0,
    detail="exit code 0",
)
CRASHED = replace(WELL, exit_code=1)
KILLED = replace(WELL, ending="signalled", exit_code=None, signal=9)
TOO_LONG = replace(WELL, ending="wall_limit", exit_code=None)
IDLE = Sample(
    seconds=1,
    cpu_busy=0.5,
    own_cpu_busy=0.4,
    lead_busy=0.4,
    lead_waited=0,
    load_average=1,
    tree_bytes=2**20,
    memory_free_bytes=2**33,
    disk_free_bytes=2**34,
)
FULL = replace(IDLE, disk_free_bytes=2**20)
STARVED = replace(IDLE, memory_free_bytes=2**20)
CROWDED = replace(IDLE, cpu_busy=4, own_cpu_busy=1, lead_busy=0.5, lead_waited=0.5)
ASLEEP = replace(CROWDED, own_cpu_busy=0.02, lead_busy=0.02, lead_waited=0.05)
UNDISTURBED = replace(CROWDED, lead_busy=0.9, lead_waited=0.1)
HOT = GpuSample(is_hot=True)
COOL = GpuSample(uncorrected_errors=0)


def with_gpus(*samples: GpuSample) -> list[Sample]:
    return [replace(IDLE, gpus=(sample,)) for sample in samples]


@pytest.mark.parametrize(
    ("result", "samples", "fault"),
    [
        (CRASHED, [IDLE, FULL], "the disk had less than"),
        (KILLED, [IDLE, STARVED], "memory ran out"),
        (TOO_LONG, [CROWDED, CROWDED], "others kept 3.0 of 4 cores busy"),
        (TOO_LONG, [replace(CROWDED, own_cpu_busy=0.1, lead_busy=0.1)], "others kept 3.9 of 4"),
        (WELL, with_gpus(COOL, HOT, HOT), "GPU 0 was clocked down by heat or supply in 67%"),
        (WELL, with_gpus(COOL, GpuSample(uncorrected_errors=2)), "2 uncorrected memory errors"),
        (WELL, with_gpus(COOL, GpuSample(fault="GPU is lost")), "GPU 0 was lost: GPU is lost"),
        (WELL, [*with_gpus(COOL), IDLE], "GPU 0 was lost: it is gone"),
    ],
)
def test_the_machine_is_at_fault(result, samples, fault):
    assert fault in machine_fault([result], samples, 4, MEMORY_BYTES)


@pytest.mark.parametrize(
    ("result", "samples"),
    [
        (WELL, [FULL, STARVED, CROWDED]),
        (CRASHED, [IDLE, CROWDED]),
        (KILLED, [IDLE]),
        (KILLED, [replace(STARVED, tree_bytes=2**34 - 2**30)]),
        (TOO_LONG, [ASLEEP, ASLEEP]),
        (TOO_LONG, [UNDISTURBED, UNDISTURBED]),
        (TOO_LONG, [IDLE]),
        (TOO_LONG, []),
        (WELL, with_gpus(*[COOL] * 20, HOT)),
    ],
)
def test_the_submission_is_at_fault(result, samples):
    assert machine_fault([result], samples, 4, MEMORY_BYTES) is None


def test_a_rank_that_crashed_before_the_time_ran_out_is_not_the_machines_fault():
    assert machine_fault([TOO_LONG], [CROWDED], 4, MEMORY_BYTES)
    assert machine_fault([TOO_LONG], [CROWDED], 4, MEMORY_BYTES, rank_failed=True) is None
