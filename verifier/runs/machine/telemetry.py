"""What the machine did during a run: a sample a second, in `seed_<n>/telemetry.jsonl`.

Taken outside the sandbox, by a thread that rests two hundred times as long as a sample takes, so
that it never costs more than 0.5 % of a core, whatever the machine.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import psutil

from verifier.runs.machine.gpu_sensors import GpuSample, GpuSensors

SAMPLE_SECONDS = 1.0
REST_PER_SAMPLE = 200
MAX_SAMPLES = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One look at the machine; memory and disk in bytes, loads in CPU cores."""

    seconds: float
    """Since the seed's launch."""
    cpu_busy: float
    """Cores busy since the last sample, ours and others'."""
    own_cpu_busy: float
    """Cores that our process tree kept busy."""
    lead_busy: float
    """Cores that the first thread of each of our processes kept busy."""
    lead_waited: float
    """Cores that these threads were ready to run on, and others had; 0 for a run that sleeps."""
    load_average: float
    tree_bytes: int
    """Resident memory of our process tree."""
    memory_free_bytes: int
    disk_free_bytes: int
    gpus: tuple[GpuSample, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Used:
    """Seconds that were used up to a moment, from different beginnings; memory that is held now."""

    now: float
    busy: float
    own: float
    lead_ran: float
    lead_waited: float
    tree_bytes: int


def gpu_seconds(samples: Sequence[Sample], until: float | None) -> float | None:
    """How long a GPU worked up to a moment of the run, as the mean of all; None without GPUs.

    Args:
        samples: in order, each with the share of the time before it that each GPU was busy.
        until: seconds since launch; None where nothing marks that moment.
    """
    if until is None or not any(sample.gpus for sample in samples):
        return None
    busy, last = 0.0, 0.0
    for sample in samples:
        if sample.seconds > until:
            break
        shares = [(gpu.utilization_percent or 0) / 100 for gpu in sample.gpus]
        busy += (sample.seconds - last) * sum(shares) / max(len(shares), 1)
        last = sample.seconds
    return busy


class Telemetry:
    """Samples while it is entered; `samples` holds them afterwards."""

    def __init__(self, folder: Path) -> None:
        self.samples: list[Sample] = []
        self._folder = folder
        self._sensors = GpuSensors()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._last = self._used()

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._sensors.close()

    def _watch(self) -> None:
        # A full disk is one of the things to be told; it must not end the telling.
        with contextlib.suppress(OSError), (self._folder / "telemetry.jsonl").open("w") as file:
            rest_seconds = SAMPLE_SECONDS
            while not self._stop.wait(rest_seconds) and len(self.samples) < MAX_SAMPLES:
                began = time.thread_time()
                self.samples.append(self._sample())
                with contextlib.suppress(OSError):
                    file.write(json.dumps(asdict(self.samples[-1])) + "\n")
                    file.flush()
                spent = time.thread_time() - began
                rest_seconds = max(SAMPLE_SECONDS, REST_PER_SAMPLE * spent)

    def _sample(self) -> Sample:
        before, self._last = self._last, self._used()
        elapsed = max(self._last.now - before.now, 1e-3)

        def share(name: str) -> float:
            used = getattr(self._last, name) - getattr(before, name)
            return float(round(max(used, 0.0) / elapsed, 3))

        return Sample(
            seconds=round(self._last.now - self._began, 3),
            cpu_busy=share("busy"),
            own_cpu_busy=share("own"),
            lead_busy=share("lead_ran"),
            lead_waited=share("lead_waited"),
            load_average=os.getloadavg()[0],
            tree_bytes=self._last.tree_bytes,
            memory_free_bytes=psutil.virtual_memory().available,
            disk_free_bytes=psutil.disk_usage(str(self._folder)).free,
            gpus=self._sensors.read(),
        )

    @staticmethod
    def _used() -> _Used:
        """By the whole machine, and by our tree as it is."""
        times = psutil.cpu_times()
        own, lead_ran, lead_waited, resident = 0.0, 0.0, 0.0, 0
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error, OSError, ValueError):
                used = process.cpu_times()
                own += used.user + used.system
                resident += process.memory_info().rss
                # Nanoseconds on a core, and ready to run without one (sched-stats.rst).
                ran, waited, _ = Path(f"/proc/{process.pid}/schedstat").read_text().split()
                lead_ran += int(ran) / 1e9
                lead_waited += int(waited) / 1e9
        return _Used(
            now=time.monotonic(),
            busy=sum(times) - times.idle - getattr(times, "iowait", 0.0),
            own=own,
            lead_ran=lead_ran,
            lead_waited=lead_waited,
            tree_bytes=resident,
        )
