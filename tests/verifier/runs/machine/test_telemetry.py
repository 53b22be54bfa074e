"""One sample a second of this machine, cheaply; GPUs where there are some."""

import contextlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from verifier.runs.machine.gpu_sensors import HOT_REASONS, GpuSample, GpuSensors
from verifier.runs.machine.telemetry import (
    REST_PER_SAMPLE,
    SAMPLE_SECONDS,
    Sample,
    Telemetry,
    gpu_seconds,
)

BURN = "held = b'x' * 2**26\nwhile True: pass"
SLEEP = "import time\nwhile True: time.sleep(9)"


@contextlib.contextmanager
def children(code: str, number: int = 1, words: tuple[str, ...] = ()):
    running = [subprocess.Popen([*words, sys.executable, "-c", code]) for _ in range(number)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def until(telemetry: Telemetry, seen: Callable[[Sample], bool]) -> Sample:
    """The first sample that shows it, however long that takes on a busy machine."""
    while not any(map(seen, telemetry.samples)):
        time.sleep(0.05)
    return next(filter(seen, telemetry.samples))


def test_a_busy_child_is_seen_and_written_down(tmp_path):
    with children(BURN), Telemetry(tmp_path) as telemetry:
        sample = until(telemetry, lambda s: s.own_cpu_busy > 0.05 and s.tree_bytes > 2**26)
    assert sample.lead_busy > 0.05
    assert sample.cpu_busy >= 0.9 * sample.own_cpu_busy
    assert sample.disk_free_bytes > 0 < sample.memory_free_bytes
    lines = [json.loads(line) for line in (tmp_path / "telemetry.jsonl").open()]
    assert len(lines) == len(telemetry.samples)


def test_a_child_that_sleeps_waits_for_nothing(tmp_path):
    with children(SLEEP), Telemetry(tmp_path) as telemetry:
        until(telemetry, lambda s: s.lead_busy < 0.01 and s.lead_waited < 0.01)


def test_children_that_crowd_a_core_wait(tmp_path):
    one_core = ("taskset", "-c", str(min(os.sched_getaffinity(0))))
    with children(BURN, number=3, words=one_core), Telemetry(tmp_path) as telemetry:
        until(telemetry, lambda s: s.lead_waited > 1)


def test_the_dearer_a_sample_the_rarer(tmp_path, monkeypatch):
    telemetry, rests = Telemetry(tmp_path), []
    telemetry._began = 0.0
    telemetry._stop = SimpleNamespace(wait=lambda rest: rests.append(rest) or len(rests) > 2)
    monkeypatch.setattr(
        "verifier.runs.machine.telemetry.time.thread_time", itertools.count(0, 5).__next__
    )
    telemetry._watch()
    assert rests == [SAMPLE_SECONDS, 5 * REST_PER_SAMPLE, 5 * REST_PER_SAMPLE]


def test_a_folder_that_is_gone_ends_no_run(tmp_path):
    with Telemetry(tmp_path / "gone") as telemetry:
        time.sleep(0.01)
    assert telemetry.samples == []


def sample(seconds: float, *percents: int) -> Sample:
    gpus = tuple(GpuSample(utilization_percent=percent) for percent in percents)
    loads = ("cpu_busy", "own_cpu_busy", "lead_busy", "lead_waited", "load_average")
    nothing = dict.fromkeys(loads, 0.0)
    sizes = dict.fromkeys(("tree_bytes", "memory_free_bytes", "disk_free_bytes"), 0)
    return Sample(seconds=seconds, gpus=gpus, **nothing, **sizes)


def test_work_of_the_gpus_is_counted_up_to_a_moment_as_their_mean():
    samples = [sample(1, 0, 0), sample(3, 100, 50), sample(4, 100, 100)]
    assert gpu_seconds(samples, until=3.5) == pytest.approx(1.5)
    assert gpu_seconds(samples, until=None) is None
    assert gpu_seconds([sample(1), sample(2)], until=9) is None


class EightGpus:
    """As much of NVIDIA's library as a machine of eight GPUs uses; the sixth has failed."""

    NVMLError = RuntimeError
    NVML_CLOCK_SM = NVML_TEMPERATURE_GPU = 0
    NVML_MEMORY_ERROR_TYPE_UNCORRECTED = NVML_VOLATILE_ECC = 0

    def __getattr__(self, name):
        return 0 if name in HOT_REASONS else lambda handle=0, *_: handle

    def nvmlDeviceGetCount(self):  # noqa: N802
        return 8

    def nvmlDeviceGetUtilizationRates(self, handle):  # noqa: N802
        if handle == 5:
            raise RuntimeError("GPU is lost")
        return SimpleNamespace(gpu=10 * handle)


def test_every_gpu_has_its_own_place_in_a_sample_and_one_that_fails_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", EightGpus())
    samples = GpuSensors().read()
    assert [gpu.utilization_percent for gpu in samples] == [0, 10, 20, 30, 40, None, 60, 70]
    assert [gpu.fault for gpu in samples if gpu.fault] == ["GPU is lost"]


@pytest.mark.gpu
def test_every_gpu_answers():
    pytest.importorskip("pynvml")
    sensors = GpuSensors()
    samples = sensors.read()
    sensors.close()
    assert samples
    for sample in samples:
        assert sample.fault is None
        assert sample.sm_clock_mhz > 0 < sample.power_watts
        assert sample.memory_bytes >= 0 <= sample.utilization_percent
