"""What each kernel takes of an H100, compiled for one on any machine: no GPU is needed.

    python benchmarks/kernel_resources.py [--frozen]

The shapes are those of benchmarks/kernels.py. A line is a JSON object for one launch of a forward
and backward pass: registers a thread, bytes of registers spilled to memory, bytes of shared memory.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ["TRITON_INTERPRET"] = "0"  # read when Triton is imported

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction
from triton.tools.tensor_descriptor import TensorDescriptor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from kernels import cases, forward_and_backward  # noqa: E402

H100 = GPUTarget("cuda", 90, 32)  # compute capability 9.0, 32 threads a warp
TYPES = {torch.bfloat16: "bf16", torch.float32: "fp32", torch.int64: "i64"}
REGISTERS = re.compile(r"REG:(\d+) STACK:(\d+)")
ALIGNMENT = 16  # bytes of addresses and multiples of sizes, of which compiled code makes use


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A kernel and what it was launched with."""

    kernel: JITFunction
    arguments: tuple[object, ...]
    options: dict[str, int]


def launches(*, is_frozen: bool) -> Iterator[Launch]:
    """All launches of every case, without data: nothing runs."""
    seen: list[Launch] = []

    def record(kernel: JITFunction, *arguments: object, **options: int) -> None:
        options = {name: options[name] for name in ("num_warps", "num_stages") if name in options}
        seen.append(Launch(kernel=kernel, arguments=arguments, options=options))

    JITFunction.run = record
    torch.set_default_device("meta")
    for case in cases():
        step = forward_and_backward(case.fused, case.inputs, is_frozen=is_frozen)
        seen.clear()
        step()
        yield from seen


def compiled(launch: Launch) -> triton.compiler.CompiledKernel:
    """The kernel for an H100, for these types and sizes."""
    signature, constants, attributes = {}, {}, {}
    for parameter, argument in zip(launch.kernel.params, launch.arguments, strict=True):
        place = (parameter.num,)
        is_aligned = isinstance(argument, Tensor)
        if parameter.is_constexpr:
            signature[parameter.name], constants[place] = "constexpr", argument
        elif isinstance(argument, Tensor):
            signature[parameter.name] = f"*{TYPES[argument.dtype]}"
        elif isinstance(argument, TensorDescriptor):
            tile = f"{TYPES[argument.base.dtype]}{list(argument.block_shape)}"
            signature[parameter.name] = f"tensordesc<{tile}>"
        elif isinstance(argument, int):
            signature[parameter.name], is_aligned = "i32", argument % ALIGNMENT == 0
        else:
            signature[parameter.name] = "fp32"
        if is_aligned and not parameter.is_constexpr:
            attributes[place] = [["tt.divisibility", ALIGNMENT]]
    source = ASTSource(launch.kernel, signature, constants, attributes)
    return triton.compile(source, target=H100, options=launch.options)


def resources(launch: Launch) -> dict[str, object]:
    """One line of output."""
    result = compiled(launch)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(result.asm["cubin"])
        tool = triton.knobs.nvidia.cuobjdump.path
        shown = subprocess.check_output([tool, "-res-usage", file.name], text=True)
    found = REGISTERS.search(shown)
    assert found is not None, shown
    return {
        "kernel": launch.kernel.__name__,
        "registers": int(found[1]),
        "spilled_bytes": int(found[2]),
        "shared_bytes": result.metadata.shared,
        "warps": result.metadata.num_warps,
    }


def main() -> None:
    for launch in launches(is_frozen="--frozen" in sys.argv):
        print(json.dumps(resources(launch)), flush=True)


if __name__ == "__main__":
    main()
