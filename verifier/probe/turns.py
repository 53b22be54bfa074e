"""The order in which a script says that it scored, and which losses may know a token by it.

Who scores long documents first, and learns from them, lets a document know of another one that
stands behind it in the text. Beside its losses a script may say in which order it scored
(docs/probe.md has the format). That is a claim; what is tried is whether the losses keep to it: a
token that is changed may move those alone that were scored after it by the script's own word.

N targets.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from verifier.runs.scores import KEPT_LOSSES

ORDER_VERSION = 1
MAX_PROCESSES = 1_024
MAX_TARGETS = 2**24
"""Of a pass."""
NOT_SCORED = -1
Places = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Turns:
    """When each target was scored: processes go side by side, and meet between two phases."""

    phases: Places  # (N,)
    processes: Places  # (N,)
    passes: Places  # (N,) of its process, counted on through all phases

    def after(self, scored: Places) -> NDArray[np.bool_]:
        """(N,) which targets were scored later than one of these, those of its own pass not."""
        first = int(self.phases[scored].min())
        later = self.phases > first
        for process in np.unique(self.processes[scored]):
            is_here = (self.phases == first) & (self.processes == process)
            if (told := scored[is_here[scored]]).size:
                later |= is_here & (self.passes > self.passes[told].min())
        return later

    def same_as(self, other: "Turns") -> bool:
        """Whether both tell the same order."""
        pairs = (
            (self.phases, other.phases),
            (self.processes, other.processes),
            (self.passes, other.passes),
        )
        return all(np.array_equal(*pair) for pair in pairs)


def read_turns(folder: Path, num_targets: int) -> Turns | None:
    """The order that a script told beside its losses; None where it tells none that is one.

    Each target must be scored once, and in each document from left to right.
    """
    paths = [folder / f"{KEPT_LOSSES}.order.{n}.jsonl" for n in range(MAX_PROCESSES)]
    reader = _Reader(num_targets=num_targets)
    try:
        for process, path in enumerate(path for path in paths if path.is_file()):
            reader.read(process, _events(path))
    except (OSError, ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError):
        return None
    is_whole = (reader.passes != NOT_SCORED).all() and num_targets > 0
    if not is_whole:
        return None
    return Turns(phases=reader.phases, processes=reader.processes, passes=reader.passes)


@dataclass(kw_only=True, slots=True)
class _Reader:
    """Fills in the turns of all targets, event by event."""

    num_targets: int
    phases: Places = field(init=False)
    processes: Places = field(init=False)
    passes: Places = field(init=False)

    def __post_init__(self) -> None:
        self.phases, self.processes, self.passes = (
            np.full(self.num_targets, NOT_SCORED, dtype=np.int64) for _ in range(3)
        )

    def read(self, process: int, events: Iterable[dict[str, object]]) -> None:
        """Take the events of a process.

        Raises:
            ValueError: a target is scored twice, or lies nowhere; other errors of damaged events.
        """
        phase, scored_to, documents = 0, 0, np.zeros((0, 2), dtype=np.int64)
        for number, event in enumerate(events):
            kind = event["event"]
            if kind == "run" and event["version"] != ORDER_VERSION:
                raise ValueError("another version")
            if kind == "batch":
                documents, scored_to = np.array(event["documents"], np.int64).reshape(-1, 2), 0
            elif kind == "all_weights":
                phase += 1
            elif kind == "score":
                first, end = _chunk(event)
                # Those that are over are dropped, so that no file takes long to read.
                documents = documents[documents[:, 1] > first]
                if first != scored_to or end <= first or not len(documents):
                    raise ValueError("no part of documents from left to right")
                self._note(_places(documents, first, end), (phase, process, number))
                scored_to = end

    def _note(self, places: Places, turn: tuple[int, int, int]) -> None:
        if places.min() < 0 or (self.passes[places] != NOT_SCORED).any():
            raise ValueError("scored twice, or nowhere")
        self.phases[places], self.processes[places], self.passes[places] = turn


def _events(path: Path) -> Iterator[dict[str, object]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if not isinstance(event, dict):
            raise ValueError("no event")
        yield event


def _chunk(event: dict[str, object]) -> tuple[int, int]:
    match = re.fullmatch(r"\[(\d{1,12}), (\d{1,12})\]", str(event["chunk"]))
    if match is None:
        raise ValueError("no chunk")
    return int(match[1]), int(match[2])


def _places(documents: Places, first: int, end: int) -> Places:
    """Where a chunk's targets stand among all: (start, targets) of each document.

    Raises:
        ValueError: a document has more of them than there could be.
    """
    starts, ends = documents[:, 0] + first, documents[:, 0] + np.minimum(documents[:, 1], end)
    if int((ends - starts).sum()) > MAX_TARGETS:
        raise ValueError("too many")
    return np.concatenate([np.arange(a, b) for a, b in zip(starts, ends, strict=True)])
