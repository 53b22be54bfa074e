"""One sample a second of this machine, cheaply; GPUs where there are some."""

import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from verifier.runs.gpu_sensors import HOT_REASONS, GpuSample, GpuSensors
from verifier.runs.telemetry import Sample, Telemetry, gpu_seconds

BURN = "import time; held = b'x' * 2**26; end = time.time() + 2.5\nwhile time.time() < end: pass"


def test_a_busy_child_is_seen_and_written_down(tmp_path):
    with Telemetry(tmp_path) as telemetry:
        subprocess.run([sys.executable, "-c", BURN], check=True)
    lines = [json.loads(line) for line in (tmp_path / "telemetry.jsonl").open()]
    assert len(lines) == len(telemetry.samples) >= 2
    last = telemetry.samples[-1]
    assert last.own_cpu_busy > 0.1
    assert last.cpu_busy >= 0.9 * last.own_cpu_busy
    assert last.lead_busy > 0.1
    assert last.tree_bytes > 2**26
    assert last.disk_free_bytes > 0 < last.memory_free_bytes


def test_a_child_that_sleeps_waits_for_nothing_and_one_that_is_crowded_waits(tmp_path):
    def waited(code: str, others: int) -> float:
        cpu = min(os.sched_getaffinity(0))
        words = ["taskset", "-c", str(cpu), sys.executable, "-c"]
        crowd = [subprocess.Popen([*words, BURN]) for _ in range(others)]
        with Telemetry(tmp_path) as telemetry:
            subprocess.run([*words, code], check=True)
        for process in crowd:
            process.wait()
        return telemetry.samples[-1].lead_waited

    assert waited("import time; time.sleep(2.5)", others=0) < 0.3 < waited(BURN, others=2)


def test_watching_costs_next_to_nothing(tmp_path):
    before = time.process_time()
    with Telemetry(tmp_path) as telemetry:
        time.sleep(3.2)
    assert telemetry.samples
    assert time.process_time() - before < 0.01 * 3.2


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
