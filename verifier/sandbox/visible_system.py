"""The parts of the host that a training script needs, whichever sandbox shows them."""

import os
import sys
from pathlib import Path

SYSTEM_FILES = (
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/ssl/certs",
    "/etc/localtime",
)
BASE_ENVIRONMENT = {
    "USER": "runner",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONUNBUFFERED": "1",
    "PYTHONNOUSERSITE": "1",
    # torchrun and NCCL look for a network interface; loopback is the one that always works.
    "GLOO_SOCKET_IFNAME": "lo",
    "NCCL_SOCKET_IFNAME": "lo",
    "NCCL_IB_DISABLE": "1",
    "HF_HUB_OFFLINE": "1",
}

MACHINE_SETTINGS = (
    "NCCL_NVLS_ENABLE",
    "TORCH_SYMM_MEM_DISABLE_MULTICAST",
    "NVSHMEM_DISABLE_NVLS",
)
"""How a machine turns off multicast between GPUs that it shares with others, who would suffer."""


def machine_settings() -> dict[str, str]:
    """Those that are set: they go to every command, and none has a say in them."""
    return {name: os.environ[name] for name in MACHINE_SETTINGS if name in os.environ}


def complete_environment(own: dict[str, str], asked: dict[str, str]) -> dict[str, str]:
    """The variables of a command.

    Args:
        own: the sandbox's.
        asked: the submission's and the user's.
    """
    return BASE_ENVIRONMENT | own | asked | machine_settings()


def interpreter_folders() -> list[Path]:
    """The interpreter's own folders where they lie outside /usr, by every name they go by."""
    named = [Path(sys.prefix), Path(sys.base_prefix)]
    every_name = dict.fromkeys([*named, *(path.resolve() for path in named)])
    return [prefix for prefix in every_name if not prefix.is_relative_to("/usr")]


def search_path() -> str:
    """PATH with this interpreter first, so that `torchrun` is its own."""
    return os.pathsep.join(
        [str(Path(sys.prefix) / "bin"), "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]
    )


def gpu_nodes() -> list[Path]:
    """NVIDIA's device nodes."""
    return sorted(Path("/dev").glob("nvidia*"))
