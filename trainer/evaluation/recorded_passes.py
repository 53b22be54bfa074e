"""Passes of test-time training as CUDA graphs: recorded once for a shape, played from then on.

A pass launches some two thousand kernels. Where it reads little, launching takes the host longer
than they take the device (81 and 22 ms over 64 documents of 48 tokens, one H100, `pr1855`); played,
a pass is two launches: one that scores and one that learns, apart as ever.

B documents, T tokens, L tokens of a chunk.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import torch

from trainer.evaluation.chunk_passes import Chunk, Passes

FREE_SHARE = 0.25  # of the device's memory; with less, what PyTorch keeps for later is given back
PassShape = tuple[int, int, int]  # B, T, L


class Recorder(Protocol):
    """Records what a function has the device do."""

    def around(self) -> AbstractContextManager[None]:
        """Within it, everything is done of which something may be recorded."""
        ...

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        """Returns what does it again; the work need not be done by recording it.

        What the work makes and does not put into memory from outside is lost when something else
        that was recorded is played.
        """
        ...


class CudaRecorder:
    """Records CUDA graphs that share their memory, and a stream."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    @contextmanager
    def around(self) -> Iterator[None]:
        """Everything on the one stream: autograd goes back to where a tensor was first used."""
        before = torch.cuda.current_stream()
        self._stream.wait_stream(before)
        with torch.cuda.stream(self._stream):
            yield
        before.wait_stream(self._stream)

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record only: the device does nothing yet."""
        free, total = torch.cuda.mem_get_info()
        if free < FREE_SHARE * total:
            torch.cuda.empty_cache()  # cannot be done while a graph is recorded
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Threads beside this one, NCCL's among them, may ask the device about other work.
        graph.capture_begin(self._pool, capture_error_mode="thread_local")
        try:
            work()
        finally:
            graph.capture_end()
        return graph.replay


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """A pass of one shape."""

    chunk: Chunk  # the first, from whose memory it reads
    score: Callable[[], None]
    learn: Callable[[], None]

    def read(self, chunk: Chunk) -> None:
        """Be about another chunk of the same shape."""
        for own, other in (
            (self.chunk.places, chunk.places),
            (self.chunk.slots, chunk.slots),
            (self.chunk.goes_on, chunk.goes_on),
        ):
            own.copy_(other)


@dataclass(kw_only=True, slots=True)
class RecordedPasses(Passes):
    """Passes that are recorded when their shape comes for the second time.

    The first time, they are done as ever: whatever is prepared for a shape is ready then.
    """

    recorder: Recorder
    longest_window: int  # of passes that are recorded
    _done_once: dict[PassShape, Chunk] = field(default_factory=dict)
    _recordings: dict[PassShape, Recording] = field(default_factory=dict)
    _playing: Recording | None = None

    def score(self, chunk: Chunk) -> None:
        """Score it with the adapters as they are."""
        self._playing = self._recording_for(chunk)
        if self._playing is None:
            Passes.score(self, chunk)
            return
        self._playing.read(chunk)
        self._playing.score()

    def learn(self, chunk: Chunk) -> None:
        """Move the adapters by what the chunk, scored last, has cost."""
        if self._playing is None:
            Passes.learn(self, chunk)
            return
        self._playing.learn()
        self.adapters.note_step()

    def _recording_for(self, chunk: Chunk) -> Recording | None:
        num_documents, window = chunk.places.shape
        if window > self.longest_window:
            return None
        shape = num_documents, window, chunk.scored.numel()
        if shape in self._done_once:
            self._record_all()
        elif shape not in self._recordings:
            self._done_once[shape] = chunk
        return self._recordings.get(shape)

    def _record_all(self) -> None:
        """Record every shape that was done once, the largest first: others fit in its memory."""
        num_documents = self.adapters.num_documents
        for shape in sorted(self._done_once, key=num_tokens, reverse=True):
            self._recordings[shape] = self._record(self._done_once.pop(shape))
        self.adapters.read(num_documents)

    def _record(self, chunk: Chunk) -> Recording:
        """Learning reads what scoring leaves behind: nothing may be recorded in between."""
        self.adapters.read(len(chunk.places))
        scoring = self.recorder(partial(Passes.score, self, chunk))
        learning = self.recorder(partial(self._move, chunk))
        return Recording(chunk=chunk, score=scoring, learn=learning)


def num_tokens(shape: PassShape) -> int:
    """Of all windows."""
    return shape[0] * shape[1]
