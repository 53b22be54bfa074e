"""Whether a ledger of `order_ledger` tells of an honest order: everything scored before it teaches.

Honest is: every target is scored once; chunks of a document follow one another from left to right;
adapters learn from the chunk that was scored last, once; all weights learn from documents that some
process has scored whole before the same pause; every step is noted; and the losses that were
written are those that were noted when they were scored. The ledger is the script's own word:
this finds mistakes, not lies.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.errors import DataError
from trainer.evaluation.order_ledger import LEDGER_VERSION, ledger_path

SAME_NATS = 1e-4  # of a noted sum, by which fp32 sums of the same losses may differ
NOT_SCORED = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderSummary:
    """What an honest ledger tells."""

    num_targets: int  # each scored once
    num_learnt: int  # of them, from which adapters learnt afterwards
    num_phases: int  # in which all weights learnt
    num_all_weights_steps: int


class OrderReader:
    """Goes through the ledger of one process."""

    def __init__(self, losses: np.ndarray, scored_in: np.ndarray, *, process: int = 0) -> None:
        """Begin to read.

        Args:
            losses: (N,) fp32 nats, as they were written.
            scored_in: (N,) int, the phase in which each target was scored; shared by all processes.
            process: whose ledger it is.
        """
        self.losses, self.scored_in = losses, scored_in
        self.process, self.num_processes = process, 0
        self.documents = np.zeros((0, 2), np.int64)
        self.scored, self.learnt_to, self.num_learnt = range(0), 0, 0
        self.phase = self.adapter_steps = self.all_weights_steps = 0
        self.pauses: list[tuple[int, list[list[int]]]] = []

    def read(self, event: dict[str, object]) -> None:
        """Take the next event.

        Raises:
            ValueError: it is none, or not honest.
        """
        if self.num_processes == 0:
            self._run(event)
            return
        readers = {
            "batch": self._batch,
            "score": self._score,
            "learn": self._learn,
            "all_weights": self._all_weights,
        }
        kind = str(event.get("event"))
        if kind not in readers:
            raise ValueError(f"is no event of a ledger: {kind!r}")
        readers[kind](event)

    def _run(self, event: dict[str, object]) -> None:
        _expect(event, event="run", version=LEDGER_VERSION, process=self.process)
        _expect(event, targets=self.losses.size)
        self.num_processes = max(int(str(event["processes"])), 1)

    def _batch(self, event: dict[str, object]) -> None:
        _expect(event, phase=self.phase, all_weights_steps=self.all_weights_steps)
        self.documents = np.array(event["documents"], np.int64).reshape(-1, 2)
        self.scored, self.learnt_to = range(0), 0

    def _score(self, event: dict[str, object]) -> None:
        _expect(event, adapter_steps=self.adapter_steps)
        chunk = _chunk(event)
        if chunk.start != self.scored.stop:
            raise ValueError(f"scores {_name(chunk)} behind {_name(self.scored)}")
        self.scored = chunk
        places = self._places(chunk)
        if (self.scored_in[places] != NOT_SCORED).any():
            raise ValueError(f"scores {_name(chunk)}, of which some were scored before")
        self.scored_in[places] = self.phase
        noted, written = float(str(event["nats"])), float(self.losses[places].sum(dtype=np.float64))
        if not abs(noted - written) <= SAME_NATS * max(abs(noted), 1.0):
            raise ValueError(
                f"scores {_name(chunk)} at {noted:.4f} nats, but {written:.4f} were written"
            )

    def _learn(self, event: dict[str, object]) -> None:
        _expect(event, adapter_steps=self.adapter_steps + 1)
        chunk = _chunk(event)
        if chunk != self.scored:
            raise ValueError(f"learns from {_name(chunk)}, where {_name(self.scored)} was scored")
        if chunk.start < self.learnt_to:
            raise ValueError(f"learns from {_name(chunk)} again")
        self.learnt_to = chunk.stop
        self.adapter_steps += 1
        self.num_learnt += int((self.documents[:, 1] > chunk.stop).sum()) * len(chunk)

    def _all_weights(self, event: dict[str, object]) -> None:
        _expect(event, phase=self.phase)
        steps, told = int(str(event["all_weights_steps"])), event["documents"]
        if steps < self.all_weights_steps or not isinstance(told, list):
            raise ValueError("tells of no steps from documents")
        self.pauses.append((self.phase, told))
        self.all_weights_steps, self.adapter_steps = steps, 0
        self.phase += 1

    def _places(self, chunk: range) -> np.ndarray:
        """Where a chunk's targets stand among all."""
        parts = [
            np.arange(start + chunk.start, start + min(chunk.stop, length))
            for start, length in self.documents.tolist()
        ]
        return np.concatenate([*parts, np.zeros(0, np.int64)])


def check_order(losses_path: Path) -> OrderSummary:
    """Check the ledgers of all processes that lie beside the losses.

    Raises:
        DataError: one is missing or damaged, or what they tell is not honest.
    """
    losses = np.fromfile(losses_path, "<f4")
    scored_in = np.full(losses.size, NOT_SCORED, np.int32)
    readers = [read_ledger(ledger_path(losses_path, 0), OrderReader(losses, scored_in))]
    for process in range(1, readers[0].num_processes):
        reader = OrderReader(losses, scored_in, process=process)
        readers.append(read_ledger(ledger_path(losses_path, process), reader))
    first = ledger_path(losses_path, 0).name
    if missing := int((scored_in == NOT_SCORED).sum()):
        raise DataError(f"{first}: {missing} of {losses.size} targets were never scored")
    pauses = readers[0].pauses
    if any(reader.pauses != pauses for reader in readers):
        raise DataError(f"{first}: processes tell of different pauses")
    for phase, documents in pauses:
        for start, length in documents:
            if (scored_in[start : start + length] > phase).any():
                raise DataError(
                    f"{first}: all weights learn in phase {phase} from the document at {start}, "
                    "which was not scored by then"
                )
    return OrderSummary(
        num_targets=losses.size,
        num_learnt=sum(reader.num_learnt for reader in readers),
        num_phases=len(pauses),
        num_all_weights_steps=readers[0].all_weights_steps,
    )


def read_ledger(path: Path, reader: OrderReader) -> OrderReader:
    """The reader, behind the last event of a ledger.

    Raises:
        DataError: it is missing or damaged, or what it tells is not honest.
    """
    for number, event in _events(path):
        try:
            reader.read(event)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DataError(f"{path.name}:{number}: {error}") from None
    return reader


def _events(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """The events of a ledger with their line numbers.

    Raises:
        DataError: there is no such file, or something else in it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        raise DataError(
            f"{path.name}: no such file; each process should have written one"
        ) from None
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            raise DataError(f"{path.name}:{number}: is no event of a ledger")
        yield number, event


def _expect(told: dict[str, object], /, **expected: object) -> None:
    for name, value in expected.items():
        if told[name] != value:
            raise ValueError(f"says {name} {told[name]!r} where {value!r} is due")


def _chunk(event: dict[str, object]) -> range:
    first, end = map(int, str(event["chunk"]).strip("[]").split(","))
    return range(first, end)


def _name(chunk: range) -> str:
    return f"chunk {chunk.start} to {chunk.stop}"
