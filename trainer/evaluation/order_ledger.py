"""The order of scoring and learning, noted while it happens: one JSON object a line.

    {"event": "run", "version": 1, "process": 0, "processes": 1, "targets": 8192}
    {"event": "batch", "phase": 0, "all_weights_steps": 0, "documents": [[0, 90], [90, 75]]}
    {"event": "score", "chunk": [0, 48], "adapter_steps": 0, "nats": 412.5}
    {"event": "learn", "chunk": [0, 48], "adapter_steps": 1}
    {"event": "all_weights", "phase": 0, "all_weights_steps": 9, "documents": [[0, 90], [90, 75]]}

Documents are told by the place of their first token and the number of their targets, chunks by
places in each document of the batch: targets from the first to before the second, as far as the
document goes, all of them scored in one pass. `learn` moves the adapters of documents that go on;
`all_weights`, the same in all processes, every weight. Steps are counted after the event, adapters'
from the beginning of the phase; `phase` counts the pauses before.

What the lines say, the script says of itself: `order_check` tells whether such an order is honest,
and whether the losses that were written are those that it noted when it scored.
"""

import json
from pathlib import Path

import torch
from torch import Tensor

from trainer.evaluation.document_batches import DocumentBatch
from trainer.process_group import ProcessGroup

LEDGER_VERSION = 1


def ledger_path(losses: Path, process: int) -> Path:
    """Where a process's ledger lies: beside the losses."""
    return losses.with_name(f"{losses.name}.order.{process}.jsonl")


class OrderLedger:
    """What one process has scored and learnt, in order."""

    def __init__(self, group: ProcessGroup, num_targets: int) -> None:
        self.events: list[dict[str, object]] = [
            {
                "event": "run",
                "version": LEDGER_VERSION,
                "process": group.rank,
                "processes": group.world_size,
                "targets": num_targets,
            }
        ]
        self.phase = self.adapter_steps = self.all_weights_steps = 0
        self._sums: list[Tensor] = []  # of the scores so far, still on the device

    def note_batch(self, batch: DocumentBatch) -> None:
        """These documents are read from now on."""
        self.events.append(
            {
                "event": "batch",
                "phase": self.phase,
                "all_weights_steps": self.all_weights_steps,
                "documents": spans_of_documents(batch),
            }
        )

    def note_score(self, chunk: range, total_nats: Tensor) -> None:
        """A chunk of them was scored; nothing here waits for the device."""
        self._sums.append(total_nats)
        self.events.append(
            {
                "event": "score",
                "chunk": [chunk.start, chunk.stop],
                "adapter_steps": self.adapter_steps,
            }
        )

    def note_learning(self, chunk: range) -> None:
        """Adapters have learnt from it."""
        self.adapter_steps += 1
        self.events.append(
            {
                "event": "learn",
                "chunk": [chunk.start, chunk.stop],
                "adapter_steps": self.adapter_steps,
            }
        )

    def note_all_weights(self, documents: DocumentBatch, num_steps: int) -> None:
        """All weights have learnt from these documents, and adapters begin anew."""
        self.all_weights_steps += num_steps
        self.events.append(
            {
                "event": "all_weights",
                "phase": self.phase,
                "all_weights_steps": self.all_weights_steps,
                "documents": spans_of_documents(documents),
            }
        )
        self.phase += 1
        self.adapter_steps = 0

    def write(self, path: Path) -> None:
        """Write everything that was noted."""
        sums = iter(torch.stack(self._sums).tolist() if self._sums else ())
        with path.open("w", encoding="utf-8") as file:
            for event in self.events:
                told = {"nats": next(sums)} if event["event"] == "score" else {}
                file.write(json.dumps(event | told) + "\n")


def spans_of_documents(documents: DocumentBatch) -> list[list[int]]:
    """Documents as a ledger tells them; those that only fill a batch are left out."""
    return [[d.start, d.num_targets] for d in documents if d.num_targets > 0]
