"""Which devices are there: what a training script needs, and nothing of the machine's own."""

import os
import stat
from pathlib import Path

from verifier.sandbox.conformance.inside.planted import NotApplicable, Planted

MACHINE_DEVICES = ("mem", "port", "kmem", "kvm", "fuse", "loop-control", "vhost-vsock", "vsock")
ENOUGH_SHARED_MEMORY_BYTES = 2**28
"""More than the 64 MiB of a container's default, with which NCCL and data loaders fail."""


def basic_devices_work(planted: Planted) -> str | None:
    """Null, zero and random devices are there."""
    Path("/dev/null").write_bytes(b"gone")
    with Path("/dev/zero").open("rb") as zero, Path("/dev/urandom").open("rb") as noise:
        return None if zero.read(4) == bytes(4) and len(noise.read(16)) == 16 else "they do not"


def device_nodes_cannot_be_made(planted: Planted) -> str | None:
    """No door to a device can be made, in no folder."""
    for folder in (".", "/tmp", "/dev", "/dev/shm", os.environ["HOME"]):
        node = Path(folder, f"pgolf-node-{os.getpid()}")
        try:
            os.mknod(node, stat.S_IFCHR | 0o600, os.makedev(1, 1))
        except OSError:
            continue
        node.unlink()
        return f"a device node was made in {folder}"
    return None


def machine_devices_cannot_be_opened(planted: Planted) -> str | None:
    """Physical memory, virtual machines, loop devices and user file systems do not open."""
    for name in MACHINE_DEVICES:
        try:
            os.close(os.open(f"/dev/{name}", os.O_RDWR | os.O_NONBLOCK))
        except OSError:
            continue
        return f"/dev/{name} opens"
    return None


def shared_memory_is_large_enough(planted: Planted) -> str | None:
    """/dev/shm can be written and is larger than a container's 64 MiB, which NCCL needs."""
    segment = Path(f"/dev/shm/pgolf-{os.getpid()}")
    segment.write_bytes(b"shared")
    segment.unlink()
    space = os.statvfs("/dev/shm")
    num_bytes = space.f_blocks * space.f_frsize
    return None if num_bytes >= ENOUGH_SHARED_MEMORY_BYTES else f"it holds {num_bytes:,} bytes"


def hardware_description_can_be_read(planted: Planted) -> str | None:
    """/sys and /proc describe the CPUs, which CUDA and PyTorch ask for."""
    described = [Path("/sys/devices/system/cpu/online"), Path("/proc/cpuinfo")]
    return None if all(path.read_text() for path in described) else "they are empty"


def gpus_are_passed_through(planted: Planted) -> str | None:
    """The host's GPU device nodes are there and open."""
    if not planted.gpu_nodes:
        raise NotApplicable("no GPU on this machine")
    for node in planted.gpu_nodes:
        if stat.S_ISCHR(Path(node).stat().st_mode):
            os.close(os.open(node, os.O_RDWR))
    return None
