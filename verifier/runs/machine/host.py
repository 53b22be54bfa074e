"""The machine that measures: what it is, and whether it is the track's."""

import importlib.metadata
import os
import platform
from pathlib import Path

import psutil

from verifier.schemas.run_record_json import HostReport
from verifier.schemas.track_yaml import Hardware

GPU_FOLDER = Path("/proc/driver/nvidia/gpus")
DRIVER_VERSION = Path("/proc/driver/nvidia/version")


def describe_host(hardware: Hardware) -> HostReport:
    """Read the machine from the kernel and the driver; nothing is started."""
    gpus = find_gpus()
    return HostReport(
        hostname=platform.node(),
        cpu=_cpu_model(),
        num_cpus=len(os.sched_getaffinity(0)),
        memory_bytes=psutil.virtual_memory().total,
        gpus=gpus,
        driver=_driver(),
        python=platform.python_version(),
        torch=_version("torch"),
        meets_track=meets(hardware, gpus),
    )


def find_gpus() -> tuple[str, ...]:
    """Model names of NVIDIA GPUs as the driver states them."""
    names = []
    for information in sorted(GPU_FOLDER.glob("*/information")):
        fields = dict(
            line.split(":", 1) for line in information.read_text().splitlines() if ":" in line
        )
        names.append(fields.get("Model", "unknown").strip())
    return tuple(names)


def missing_hardware(hardware: Hardware, gpus: tuple[str, ...]) -> str | None:
    """What this machine lacks for its figures to count; None where it lacks nothing."""
    if meets(hardware, gpus):
        return None
    wanted = f"{hardware.num_gpus} x {hardware.gpu_name or 'GPU'}"
    return f"the track's hardware is {wanted}, here is {', '.join(gpus) or 'no GPU'}"


def meets(hardware: Hardware, gpus: tuple[str, ...]) -> bool:
    """Whether enough GPUs of the track's kind are here; a track without GPUs runs anywhere."""
    fitting = [g for g in gpus if hardware.gpu_name is None or hardware.gpu_name in g]
    return len(fitting) >= hardware.num_gpus


def _driver() -> str | None:
    """The NVIDIA driver's own first line."""
    if not DRIVER_VERSION.is_file():
        return None
    return DRIVER_VERSION.read_text().partition("\n")[0].partition(":")[2].strip()


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
