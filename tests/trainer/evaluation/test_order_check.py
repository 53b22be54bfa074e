"""An honest ledger is read, and each way to be dishonest is found."""

import json

import numpy as np
import pytest
import torch

from trainer.errors import DataError
from trainer.evaluation.document_batches import Document
from trainer.evaluation.order_check import check_order
from trainer.evaluation.order_ledger import OrderLedger, ledger_path

DOCUMENTS = [Document(start=0, num_targets=6), Document(start=6, num_targets=3)]
LOSSES = np.arange(9, dtype="<f4")
FIRST, SECOND = range(4), range(4, 8)


def honest_lines(tmp_path, alone):
    """Six and three targets in chunks of four; in between all weights learn from the six."""
    ledger = OrderLedger(alone, 9)
    ledger.note_batch(DOCUMENTS[:1])
    ledger.note_score(FIRST, torch.tensor(6.0))
    ledger.note_learning(FIRST)
    ledger.note_score(SECOND, torch.tensor(9.0))
    ledger.note_all_weights(DOCUMENTS[:1], 3)
    ledger.note_batch(DOCUMENTS[1:])
    ledger.note_score(FIRST, torch.tensor(21.0))
    ledger.write(ledger_path(tmp_path / "losses", 0))
    LOSSES.tofile(tmp_path / "losses")
    return ledger_path(tmp_path / "losses", 0).read_text().splitlines()


@pytest.fixture
def lines(tmp_path, alone):
    return honest_lines(tmp_path, alone)


def write(tmp_path, lines):
    ledger_path(tmp_path / "losses", 0).write_text("\n".join(lines) + "\n")


def with_line(lines, number, **changes):
    changed = json.loads(lines[number - 1]) | changes
    return [*lines[: number - 1], json.dumps(changed), *lines[number:]]


def swapped(lines, first, second):
    lines = list(lines)
    lines[first - 1], lines[second - 1] = lines[second - 1], lines[first - 1]
    return lines


def test_an_honest_order_is_told(tmp_path, lines):
    order = check_order(tmp_path / "losses")
    assert (order.num_targets, order.num_learnt, order.num_phases) == (9, 4, 1)
    assert order.num_all_weights_steps == 3


CHEATS = {
    "learns before it scores": (lambda x: swapped(x, 3, 4), r":3: learns from chunk 0 to 4"),
    "learns twice": (
        lambda x: [*x[:4], x[3].replace('"adapter_steps": 1', '"adapter_steps": 2'), *x[4:]],
        ":5: learns from chunk 0 to 4 again",
    ),
    "learns and says nothing": (lambda x: x[:3] + x[4:], ":4: says adapter_steps 1 where 0 is due"),
    "scores anew": (lambda x: [*x, *x[-2:]], r":10: scores chunk 0 to 4, of which some were"),
    "leaves some out": (lambda x: x[:-1], "3 of 9 targets were never scored"),
    "leaves a chunk out": (lambda x: x[:2] + x[3:], r":3: learns from chunk 0 to 4, where"),
    "writes other losses": (lambda x: with_line(x, 5, nats=9.1), "at 9.1000 nats, but 9.0000 were"),
    "all weights learn what comes later": (
        lambda x: with_line(x, 6, documents=[[0, 6], [6, 3]]),
        "phase 0 from the document at 6, which was not scored by then",
    ),
    "steps between phases": (
        lambda x: with_line(x, 7, all_weights_steps=4),
        ":7: says all_weights_steps 4 where 3 is due",
    ),
    "nonsense": (lambda x: [*x, "[]"], "is no event of a ledger"),
    "no JSON": (lambda x: [*x, "{"], "is no event of a ledger"),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_dishonest_order_is_found(tmp_path, lines, cheat):
    change, said = CHEATS[cheat]
    write(tmp_path, change(lines))
    with pytest.raises(DataError, match=said):
        check_order(tmp_path / "losses")


def test_the_ledger_of_a_process_that_is_missing_is_missed(tmp_path, lines):
    write(tmp_path, with_line(lines, 1, processes=2))
    with pytest.raises(DataError, match=r"losses.order.1.jsonl: no such file"):
        check_order(tmp_path / "losses")
