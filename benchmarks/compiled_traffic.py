"""Bytes that a compiled micro-batch moves through a GPU's memory, by kernel; no GPU is needed.

    python benchmarks/compiled_traffic.py --recipe pr1855 --set model.attention_backend=flash_2
    python benchmarks/compiled_traffic.py --recipe pr1855 --looped --list 300

torch.compile traces, lowers and fuses the model for an H100 that is not there (absent_gpu), forward
and backward, as training would; then, in place of code being written, each kernel's inputs and
outputs are added up, each once (for its own kernels and products Inductor says how much of them is
touched). Nothing runs. An H100 moves some 2.9 GB in a millisecond.

--list also prints every kernel of so many MB or more, in the order of launch, with what it reads
and writes: where to look for bytes that nobody needs. Needs a CPU build of PyTorch and g++.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

import absent_gpu  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

NUM_BOUNDARIES = 128  # of documents in a row, to which shorter lists are filled up


class Counted(BaseException):
    """A graph is counted; nothing is to be compiled from it. No error: nobody wraps it into one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelCount:
    """A launch."""

    kind: str
    read: dict[str, int]  # buffer → bytes
    written: dict[str, int]

    @property
    def moved_bytes(self) -> int:
        return sum((self.read | self.written).values())


def count_micro_batch(arguments: argparse.Namespace) -> dict[str, list[KernelCount]]:
    """The launches of a forward and a backward pass, by pass."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    from trainer.model.attention_kernels import flash_for_documents
    from trainer.model.transformer import GPT
    from trainer.recipe_file import load_recipe

    changes = (pair.partition("=") for pair in arguments.changes)
    origin = {key: ("--set", value) for key, _, value in changes}
    recipe = load_recipe(arguments.recipe, origin).recipe
    tokens = recipe.batch.train_batch_tokens // recipe.batch.micro_batches_per_step
    length = recipe.batch.train_seq_len
    shape = (1, tokens) if recipe.batch.pack_documents else (tokens // length, length)
    graphs: dict[str, list[KernelCount]] = {}
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cuda"):
        model = GPT(recipe.model, shape[1]).train()
        model.use_positions(shape[1], longest_document=length)
        model.document_flash = flash_for_documents(recipe.model)
        model.use_loops(wanted=arguments.looped)
        ids = torch.zeros(shape, dtype=torch.int64)
        boundaries = None
        if recipe.batch.pack_documents:
            boundaries = torch.zeros(NUM_BOUNDARIES, dtype=torch.int32)
        forward = torch.compile(model, backend=counting(graphs), dynamic=False, fullgraph=True)
        with suppress(Counted), torch.autocast("cuda", torch.bfloat16):
            forward(ids, ids, boundaries=boundaries)
    return graphs


def counting(graphs: dict[str, list[KernelCount]]) -> Any:
    """A backend of torch.compile that goes as far as fusing, and counts."""
    import torch._functorch.config
    import torch._inductor.compile_fx as compile_fx
    from torch._inductor import config
    from torch._inductor.fx_passes import fuse_attention, misc_patterns, pad_mm
    from torch._inductor.graph import GraphLowering
    from torch._inductor.ir import TMADescriptor

    config.compile_threads, config.fx_graph_cache = 1, False
    config.joint_graph_constant_folding = False  # computes constants, which needs the device
    torch._functorch.config.enable_autograd_cache = False
    torch._functorch.config.force_non_lazy_backward_lowering = True
    for module, begin in (
        (fuse_attention, "_sfdp_init"),
        (pad_mm, "_pad_mm_init"),
        (misc_patterns, "_misc_patterns_init"),
    ):  # patterns that are traced on the device itself; none of them is in these models
        setattr(module, begin, lambda *_: None)

    def count(graph: GraphLowering) -> None:
        graph.init_wrapper_code()
        graph._update_scheduler()
        name = "backward" if graphs else "forward"
        nodes = graph.scheduler.nodes  # a description of a matrix's tiles launches nothing
        graphs[name] = [kernel_count(n) for n in nodes if not isinstance(n.node, TMADescriptor)]
        raise Counted

    GraphLowering.codegen = count

    def counted(module: torch.fx.GraphModule, inputs: list[Tensor], **options: Any) -> Any:
        with suppress(Counted):
            compile_fx.compile_fx_inner(module, inputs, **options)

        def never_run(*_: Any) -> None:
            raise Counted

        return never_run

    return lambda module, inputs: compile_fx.compile_fx(module, inputs, inner_compile=counted)


def kernel_count(node: Any) -> KernelCount:
    """What a node of Inductor's schedule touches."""
    kind = kind_of(node)
    if kind.startswith("triton "):  # its outputs are inputs that it fills
        return KernelCount(kind=kind, read=sized(node.node.inputs), written={})
    read, written = (
        node.get_read_write_buffer_accesses(include_reads=reads, include_writes=not reads)
        for reads in (True, False)
    )
    return KernelCount(kind=kind, read=read, written=written)


def kind_of(node: Any) -> str:
    """`fused` if Inductor writes the kernel, else whose it is."""
    if type(node).__name__ != "ExternKernelSchedulerNode":
        return "fused"
    if type(node.node).__name__ != "UserDefinedTritonKernel":
        return str(getattr(node.node, "op_overload", None) or node.node.python_kernel_name)
    from torch._higher_order_ops.triton_kernel_wrap import kernel_side_table

    kernel = kernel_side_table.get_kernel(node.node.kernel_idx)
    while not hasattr(kernel, "__name__"):  # tuned ones hold theirs
        kernel = kernel.fn
    return f"triton {kernel.__name__}"


def sized(buffers: Any) -> dict[str, int]:
    """Buffers' names and bytes."""
    return {
        buffer.get_name(): int(buffer.get_numel()) * buffer.get_dtype().itemsize
        for buffer in buffers
    }


def table(graphs: dict[str, list[KernelCount]]) -> Iterator[str]:
    """GB and launches by pass and kind."""
    for name, kernels in graphs.items():
        moved, launches = Counter[str](), Counter[str]()
        for kernel in kernels:
            if kernel.moved_bytes:
                moved[kernel.kind] += kernel.moved_bytes
                launches[kernel.kind] += 1
        yield f"{name:44} {total_gb(kernels):8.2f} GB {launches.total():5}"
        for kind, moved_bytes in moved.most_common():
            yield f"  {kind:42} {moved_bytes / 1e9:8.2f} GB {launches[kind]:5}"
    yield f"{'all':44} {sum(map(total_gb, graphs.values())):8.2f} GB"


def total_gb(kernels: list[KernelCount]) -> float:
    return sum(kernel.moved_bytes for kernel in kernels) / 1e9


def listing(graphs: dict[str, list[KernelCount]], smallest_mb: float) -> Iterator[str]:
    """Each large launch with its buffers in MB."""
    for name, kernels in graphs.items():
        yield f"{name}:"
        for kernel in kernels:
            if kernel.moved_bytes < smallest_mb * 1e6:
                continue
            read, written = (
                " ".join(
                    f"{buffer}:{size / 1e6:.0f}" for buffer, size in side.items() if size > 1e6
                )
                for side in (kernel.read, kernel.written)
            )
            yield f"{kernel.moved_bytes / 1e6:6.0f} MB {kernel.kind}: {read} -> {written}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="pr1855")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--looped", action="store_true", help="with the recipe's loops")
    parser.add_argument(
        "--list", type=float, metavar="MB", help="each kernel of so many MB or more"
    )
    arguments = parser.parse_args()
    absent_gpu.start_again_with_device()
    graphs = count_micro_batch(arguments)
    if set(graphs) != {"forward", "backward"}:
        sys.exit("the model was not traced whole, forward and backward")
    print("\n".join(table(graphs)))
    if arguments.list:
        print("\n".join(listing(graphs, arguments.list)))


if __name__ == "__main__":
    main()
