"""An H100 that is not there: enough of one for torch.compile to trace, lower and fuse for it."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import torch
from torch._dynamo.utils import common_constant_types

DEVICE_SOURCE = Path(__file__).with_name("device.cpp")
IS_LOADED = "PGOLF_ABSENT_GPU"
H100 = SimpleNamespace(
    name="NVIDIA H100 80GB HBM3",
    major=9,
    minor=0,
    multi_processor_count=132,
    regs_per_multiprocessor=65_536,
    max_threads_per_multi_processor=2_048,
    max_threads_per_block=1_024,
    shared_memory_per_block=49_152,
    shared_memory_per_block_optin=232_448,
    shared_memory_per_multiprocessor=233_472,
    warp_size=32,
    total_memory=80 << 30,
    L2_cache_size=50 << 20,
    gcnArchName=None,
)


def start_again_with_device() -> None:
    """Run this command once more with the device compiled and loaded; returns in that second run.

    Needs a C++ compiler; PyTorch's wheel brings the headers. GPU builds of PyTorch are refused:
    they have CUDA hooks of their own.
    """
    if torch.version.cuda is not None:
        sys.exit("counts for a GPU that is not there: needs a CPU build of PyTorch")
    if IS_LOADED in os.environ:
        pretend()
        return
    with tempfile.TemporaryDirectory(prefix="absent_gpu_") as folder:
        library = compiled_device(Path(folder))
        environment = os.environ | {IS_LOADED: "1", "LD_PRELOAD": str(library)}
        environment["LD_LIBRARY_PATH"] = str(torch_folder() / "lib")
        environment |= {"TRITON_INTERPRET": "0", "TRITON_DEFAULT_FP_FUSION": "1"}  # read at import
        ran = subprocess.run([sys.executable, *sys.argv], env=environment, check=False)
    sys.exit(ran.returncode)


def compiled_device(folder: Path) -> Path:
    """The C++ side as a shared library."""
    library, include = folder / "device.so", torch_folder() / "include"
    command = ["g++", "-std=c++20", "-O1", "-shared", "-fPIC", f"-I{include}", str(DEVICE_SOURCE)]
    command += ["-o", str(library), f"-L{torch_folder() / 'lib'}", "-lc10", "-ltorch_cpu"]
    subprocess.run(command, check=True)
    return library


def torch_folder() -> Path:
    return Path(torch.__file__).parent


def pretend() -> None:
    """Answer for the device what Python code asks of it."""
    answers = {
        "is_available": True,
        "is_initialized": True,
        "device_count": 1,
        "current_device": 0,
        "_get_device_properties": H100,
        "get_device_capability": (9, 0),
        "get_device_name": H100.name,
        "is_bf16_supported": True,
        "get_rng_state": torch.zeros(16, dtype=torch.uint8),
        "current_stream": SimpleNamespace(cuda_stream=0, device=torch.device("cuda", 0)),
        "_exchange_device": 0,
        "_maybe_exchange_device": 0,
        **dict.fromkeys(("_lazy_init", "init", "set_device", "synchronize", "set_rng_state")),
    }
    for name, answer in answers.items():
        setattr(torch.cuda, name, lambda *_, answer=answer, **__: answer)
    torch.version.cuda = "13.0"
    common_constant_types.add(type(H100))  # as those of a device that is there

    import triton
    from triton.backends.compiler import GPUTarget

    target = GPUTarget("cuda", 10 * H100.major + H100.minor, H100.warp_size)
    triton.runtime.driver.set_active(
        SimpleNamespace(
            get_current_target=lambda: target,
            get_current_device=lambda: 0,
            get_current_stream=lambda device=0: 0,
            get_device_interface=lambda: torch.cuda,
            get_active_torch_device=lambda: torch.device("cuda", 0),
        )
    )
