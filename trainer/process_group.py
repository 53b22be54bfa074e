"""One code path for one process and for eight: with one process, communication does nothing."""

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from trainer.errors import LaunchError

KEPT_GROUPS: list[object] = []
"""Groups outlive the models that they serve. If a model's reducer held the last reference, it would
wait for gloo's thread and keep the interpreter's lock, and the thread may wait for that lock: a run
that never ends (seen with PyTorch 2.13)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessGroup:
    """The processes of a run, seen from one of them."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_master(self) -> bool:
        return self.rank == 0

    def sum_in_place(self, tensor: torch.Tensor) -> None:
        """Overwrite a tensor with its sum over the processes; all of them must call it."""
        if self.world_size > 1:
            dist.all_reduce(tensor)

    def mean(self, tensor: torch.Tensor) -> torch.Tensor:
        """The mean over the processes; the tensor itself may be overwritten."""
        self.sum_in_place(tensor)
        return tensor / self.world_size

    def start_average(self, tensors: list[torch.Tensor]) -> Callable[[], None]:
        """Begin to average tensors, one message for each type; calling the result puts them in."""
        if self.world_size == 1:
            return lambda: None
        messages = []
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):  # in one order everywhere
            alike = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.flatten() for tensor in alike]) / self.world_size
            messages.append((alike, flat, dist.all_reduce(flat, async_op=True)))

        def wait() -> None:
            for alike, flat, work in messages:
                work.wait()
                parts = torch.split_with_sizes(flat, [tensor.numel() for tensor in alike])
                for tensor, part in zip(alike, parts, strict=True):
                    tensor.copy_(part.view_as(tensor))

        return wait

    def start_scatter(self, whole: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Begin to average a tensor of equal shares; calling the result waits for the own one."""
        if self.world_size == 1:
            return lambda: whole
        shares = list((whole / self.world_size).chunk(self.world_size))
        own = torch.empty_like(shares[0])
        work = dist.reduce_scatter(own, shares, async_op=True)

        def wait() -> torch.Tensor:
            work.wait()
            return own

        return wait

    def largest(self, number: float) -> float:
        """The largest of the processes' numbers.

        Hosts wait for one another, but for no device: there, the answer would come after all work
        that was given before, and nothing be left to do when the next step begins.
        """
        if self.world_size == 1:
            return number
        numbers = torch.tensor(number, dtype=torch.float64)
        dist.all_reduce(numbers, op=dist.ReduceOp.MAX)
        return numbers.item()

    def start_gather(self, share: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Begin to collect equal shares; calling the result waits for all, rank after rank."""
        if self.world_size == 1:
            return lambda: share
        share = share.contiguous()
        gathered = share.new_empty((self.world_size * share.size(0), *share.shape[1:]))
        shares = list(gathered.chunk(self.world_size))
        work = dist.all_gather(shares, share, async_op=True)

        def wait() -> torch.Tensor:
            work.wait()
            return gathered

        return wait

    def start_fetch(self, scalar: torch.Tensor) -> Callable[[], float]:
        """Begin to copy a number off the device; calling the result waits for that copy alone.

        What the device was given to do after it goes on meanwhile.
        """
        if self.device.type != "cuda":
            return scalar.item
        pinned = torch.empty((), dtype=scalar.dtype, pin_memory=True)
        pinned.copy_(scalar, non_blocking=True)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record()

        def wait() -> float:
            arrived.synchronize()
            return pinned.item()

        return wait

    def barrier(self) -> None:
        """Wait until every process has come here."""
        if self.world_size > 1:
            dist.barrier()

    def synchronize(self) -> None:
        """Wait until the device has done what it was given, so that a clock means something."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def replicate(self, model: nn.Module) -> nn.Module:
        """The model with its gradients averaged over all processes during the backward pass."""
        if self.world_size == 1:
            return model
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)


def join_process_group() -> ProcessGroup:
    """The group that torchrun set up (RANK, WORLD_SIZE, LOCAL_RANK), or a group of one.

    Raises:
        LaunchError: there are more processes on this machine than GPUs.
    """
    rank = int(os.environ.get("RANK", "0"))
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        if local_rank >= torch.cuda.device_count():
            raise LaunchError(
                f"process {local_rank} has no GPU: this machine has {torch.cuda.device_count()}; "
                "start fewer processes"
            )
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    if world_size > 1:
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, device_id=device if device.type == "cuda" else None)
        KEPT_GROUPS.append(dist.group.WORLD)
    return ProcessGroup(rank=rank, world_size=world_size, device=device)


def leave_process_group() -> None:
    """Take leave of the other processes, if there are any."""
    if dist.is_initialized():
        dist.destroy_process_group()


def end_process(exit_code: int) -> int:
    """The exit code, of one process; of several, each ends here with it.

    Gloo's threads outlive the group that a replicated model was in. If one of them asks for the
    interpreter's lock while that ends, the process is aborted ("terminate called").
    """
    if KEPT_GROUPS:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
    return exit_code


def gradient_sync(forward: nn.Module, *, wanted: bool) -> AbstractContextManager[None]:
    """Within it, a backward pass averages gradients over the processes only if wanted.

    While micro-batches accumulate, only the last backward pass need pay for communication.
    """
    if wanted or not isinstance(forward, DistributedDataParallel):
        return nullcontext()
    return forward.no_sync()
