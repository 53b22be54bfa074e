"""What one pass of test-time training takes, by the length of its window, and what compiling takes.

    python benchmarks/learning_passes.py --set evaluation.ttt_compile_unit=block --out block.json

A pass scores a chunk of as many documents as the recipe has side by side and learns from it. Its
milliseconds are those of the host (until everything was launched) and all of them (until the device
is done): where both are alike, the pass waits for launches. The profiler counts the kernels of one
pass and names those that took longest. Weights are random; `mean_nats` tells whether two forms of
the pass compute the same. CPU seconds of compiling are this process's and its helpers': they
count on a busy machine too.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from learnt_scores import prepared

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trainer.evaluation.adapters import Adapters  # noqa: E402
from trainer.evaluation.chunk_passes import Passes, chunks_of  # noqa: E402
from trainer.evaluation.compiled_passes import forward_pass  # noqa: E402
from trainer.evaluation.document_batches import Document  # noqa: E402
from trainer.evaluation.recorded_passes import CudaRecorder  # noqa: E402
from trainer.evaluation.test_time_training import Conduct, borrowed, passes_over  # noqa: E402
from trainer.process_group import ProcessGroup  # noqa: E402
from trainer.recipe_file import load_recipe  # noqa: E402

NUM_UNTIMED, NUM_TIMED = 3, 10
NUM_LONGEST_KERNELS = 12


def pass_over(window: int, passes: Passes, num_targets: int) -> Callable[[], torch.Tensor]:
    """A pass over windows of so many tokens, learning included; it returns the mean loss."""
    options, tape = passes.adapters.options, passes.tape
    places = range(0, options.ttt_batch_size * 8, 8)
    batch = [Document(start=place, num_targets=num_targets) for place in places]
    chunks = chunks_of(batch, options, tape)
    chunk = next(chunk for chunk in chunks if chunk.places.size(1) >= window)

    def once() -> torch.Tensor:
        passes.score(chunk)
        mean = passes.losses[chunk.slots].mean()
        passes.learn(chunk)
        return mean

    return once


def timed(once: Callable[[], torch.Tensor], group: ProcessGroup) -> dict[str, Any]:
    """Milliseconds of a pass, the host's and all, and its kernels."""
    first = [float(once()) for _ in range(NUM_UNTIMED)]
    group.synchronize()
    started = time.perf_counter()
    for _ in range(NUM_TIMED):
        once()
    launched = time.perf_counter()
    group.synchronize()
    ended = time.perf_counter()
    return {
        "ms": round(1e3 * (ended - started) / NUM_TIMED, 2),
        "host_ms": round(1e3 * (launched - started) / NUM_TIMED, 2),
        "mean_nats": first,
    } | profiled(once, group)


def profiled(once: Callable[[], torch.Tensor], group: ProcessGroup) -> dict[str, Any]:
    """The kernels of one pass; on a CPU, the operators that are no part of compiled code."""
    with torch.profiler.profile() as profile:
        once()
        group.synchronize()
    on_device = group.device.type == "cuda"
    kinds = torch.autograd.DeviceType.CUDA if on_device else torch.autograd.DeviceType.CPU
    events = [event for event in profile.key_averages() if event.device_type == kinds]

    def microseconds(event: Any) -> float:  # noqa: ANN401
        return float(event.self_device_time_total if on_device else event.self_cpu_time_total)

    longest = sorted(events, key=microseconds, reverse=True)[:NUM_LONGEST_KERNELS]
    return {
        "kernels": sum(event.count for event in events),
        "kernel_ms": round(sum(map(microseconds, events)) / 1e3, 2),
        "longest_ms": {
            event.key[:80]: [event.count, round(microseconds(event) / 1e3, 2)] for event in longest
        },
    }


def cpu_seconds() -> float:
    """Of this process and of those that it has waited for."""
    return sum(os.times()[:4])


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compiling, then passes over windows of each length."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    group = ProcessGroup(rank=0, world_size=1, device=device)
    pairs = (change.partition("=") for change in arguments.changes)
    recipe = load_recipe(
        arguments.recipe, {key: ("--set", value) for key, _, value in pairs}
    ).recipe
    options, model = recipe.evaluation, prepared(recipe, group)
    random = torch.Generator().manual_seed(0)
    num_tokens = options.ttt_eval_seq_len + options.ttt_batch_size * 8 + 2048
    tape = torch.randint(4, recipe.model.vocab_size, (num_tokens,), generator=random)
    counted = torch._dynamo.utils.counters["stats"]
    recorder = CudaRecorder() if options.ttt_recorded_window > 0 else None
    with borrowed(model), nullcontext() if recorder is None else recorder.around():
        adapters = Adapters(model, options)
        started, used = time.perf_counter(), cpu_seconds()
        forward = forward_pass(model, adapters, arguments.backend or None)
        group.synchronize()
        result: dict[str, Any] = {
            "changes": arguments.changes,
            "seconds_of_compiling": round(time.perf_counter() - started, 1),
            "cpu_seconds_of_compiling": round(cpu_seconds() - used, 1),
            "graphs": counted["unique_graphs"],
        }
        print(json.dumps(result), file=sys.stderr, flush=True)
        passes = passes_over(tape.numpy(), forward, adapters, Conduct(recorder=recorder))
        for window in arguments.windows:
            adapters.begin(options.ttt_batch_size)
            once = pass_over(window, passes, num_tokens - 1024)
            result[f"window {window}"] = timed(once, group)
            print(window, json.dumps(result[f"window {window}"]), file=sys.stderr, flush=True)
    result["compiled_anew"] = counted["unique_graphs"] - result["graphs"]
    if device.type == "cuda":
        result["peak_mib"] = torch.cuda.max_memory_allocated() // 1024**2
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="pr1855")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--backend", default="inductor", help="of torch.compile; '': none")
    parser.add_argument(
        "--windows", type=lambda text: [int(part) for part in text.split(",")], default=[48, 2048]
    )
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    text = json.dumps(measured(arguments))
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
