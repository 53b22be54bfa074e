"""What the instrument notes of honest and other orders of scoring and learning."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from verifier.probe.watched.instrument.sitecustomize import STEP, Record, listening
from verifier.probe.watched.ledger import SAME_NATS, read_ledger

TAPE = np.random.default_rng(3).integers(1, 32, 601).astype(np.uint16)
TOKENS = torch.from_numpy(TAPE.astype(np.int64))
CHUNK = 100


class Script:
    """A table of pairs, with losses and steps noted as in a process with the instrument."""

    def __init__(self, path: Path) -> None:
        torch.manual_seed(1)
        self.path, self.record = path, Record(path)
        self.loss = listening(functional.cross_entropy, self.record)
        self.table = torch.randn(32, 32, requires_grad=True)

    def score(self, begin: int = 0, end: int = 600) -> torch.Tensor:
        with torch.no_grad():
            before, target = TOKENS[begin:end], TOKENS[begin + 1 : end + 1]
            return self.loss(self.table[before], target, reduction="none")

    def learn(self, begin: int = 0, end: int = 600) -> None:
        self.loss(self.table[TOKENS[begin:end]], TOKENS[begin + 1 : end + 1]).backward()
        with torch.no_grad():
            self.table -= 5.0 * self.table.grad
        self.table.grad = None
        self.record.add(STEP, False, b"", 0.0)

    def ledger(self, losses: torch.Tensor, training=()):
        return read_ledger(self.path, TAPE, round(float(losses.double().mean()), 6), training)


@pytest.fixture
def script(tmp_path) -> Script:
    return Script(tmp_path / "record.bin")


def test_one_pass_is_the_one_that_counts(script):
    losses = script.score()
    ledger = script.ledger(losses)
    assert ledger.record.num_scored == 600 and ledger.record.num_learned_before == 0
    assert ledger.losses == pytest.approx(losses.numpy())


def test_scoring_chunks_before_they_are_learned_is_in_order(script):
    losses = []
    for begin in range(0, 600, CHUNK):
        losses.append(script.score(begin, begin + CHUNK))
        script.learn(begin, begin + CHUNK)
    record = script.ledger(torch.cat(losses)).record
    assert record.num_scored == 600 and record.num_steps == 5 and record.num_learned_before == 0


def test_documents_in_another_order_make_a_pass(script):
    """Adapters are fitted to the shortest documents first; borders are noted twice."""
    losses = torch.empty(600)
    for begin, end in ((400, 600), (200, 400), (0, 200)):
        losses[begin:end] = script.score(begin, end)
        script.learn(begin, end)
    record = script.ledger(losses).record
    assert record.num_scored == 600 and record.num_learned_before == 0


def test_a_pass_in_another_order_may_follow_one_from_the_start(script):
    """As where the rounded model is scored, and at once again with adapters."""
    script.score()
    losses = torch.empty(600)
    for begin, end in ((400, 600), (200, 400), (0, 200)):
        losses[begin:end] = script.score(begin, end)
        script.learn(begin, end)
    ledger = script.ledger(losses)
    assert ledger.record.num_learned_before == 0
    assert ledger.losses == pytest.approx(losses.numpy())
    order = [600 + 199, 600 + 400 + 199, 600 + 800 + 199]  # of scored and learned targets before
    assert ledger.noted_at[[599, 399, 199]].tolist() == order


def test_a_pass_in_another_order_may_hold_what_it_scored_as_context(script):
    """Adapters score a document's next chunk in a window that ends with it, behind another pass."""
    script.score()
    losses = torch.empty(600)
    for begin, end in ((400, 600), (0, 400)):
        for chunk in range(begin, end, 50):
            window = max(begin, chunk - 100)
            losses[chunk : chunk + 50] = script.score(window, chunk + 50)[chunk - window :]
            script.learn(chunk, chunk + 50)
    ledger = script.ledger(losses)
    assert ledger.losses == pytest.approx(losses.numpy())
    assert ledger.record.num_learned_before == 0


def test_of_passes_that_differ_little_the_nearest_was_printed(script):
    first = script.score()
    with torch.no_grad():
        script.table *= 1 + 1e-5
    losses = script.score()
    assert 0 < abs(float(losses.mean() - first.mean())) < SAME_NATS
    assert script.ledger(losses).noted_at.tolist() == list(range(600, 1200))


def test_a_few_tokens_noted_twice_are_no_best_of_several(script):
    losses = torch.cat([script.score(0, 300), script.score(300, 600)])
    with torch.no_grad():
        script.table += 1e-2 * torch.randn(32, 32)
    again = torch.minimum(losses[290:310], script.score(290, 310))
    losses[290:310] = again
    assert not script.ledger(losses).record.is_best_of_several


def test_an_earlier_look_at_the_score_does_no_harm(script):
    script.score()
    with torch.no_grad():
        script.table *= 0.9  # what rounding does to weights
    assert script.ledger(script.score()).record.num_learned_before == 0


def test_overlapping_windows_count_each_token_where_it_is_new(script):
    losses = [script.score(0, 200)]
    for end in range(250, 601, 50):
        losses.append(script.score(end - 200, end)[-50:])
    ledger = script.ledger(torch.cat(losses))
    assert ledger.record.num_scored == 600 and ledger.record.num_noted == 200 * 9
    assert len(ledger.losses) == 600


@pytest.mark.parametrize("stride", [50, 64])
@pytest.mark.parametrize("num_side_by_side", [1, 3])
@pytest.mark.parametrize("learns", [False, True])
def test_windows_that_end_with_the_text_count_its_end_again(
    script, stride, num_side_by_side, learns
):
    """As public sliding evaluations do: the last windows are shorter, and filled up with zeros."""
    script.score()
    windows = [(begin, min(begin + 200, 600)) for begin in range(0, 600 - stride + 1, stride)]
    counted = []
    for first in range(0, len(windows), num_side_by_side):
        batch = windows[first : first + num_side_by_side]
        before, target = (torch.zeros(len(batch), 200, dtype=torch.long) for _ in range(2))
        for row, (begin, end) in enumerate(batch):
            before[row, : end - begin] = TOKENS[begin:end]
            target[row, : end - begin] = TOKENS[begin + 1 : end + 1]
        with torch.no_grad():
            losses = script.loss(script.table[before.view(-1)], target.view(-1), reduction="none")
        for row, (begin, end) in enumerate(batch):
            skipped = 0 if begin == 0 else max(end - begin - stride, 0)
            counted.append(losses.view(-1, 200)[row, skipped : end - begin])
        if learns and windows[first][0] == 0:
            script.learn(0, 100)
    assert len(torch.cat(counted)) > 600
    ledger = script.ledger(torch.cat(counted))
    assert ledger.record.num_scored == len(ledger.losses) == 600
    assert ledger.record.num_learned_before == 0


def test_tokens_that_are_learned_and_then_scored_are_counted(script):
    script.learn(0, 300)
    record = script.ledger(script.score()).record
    assert record.num_learned_before == 300 and record.first_learned_before == 1


def test_text_that_the_training_data_have_too_may_be_learned_before(script):
    """Boilerplate, and what a split by documents leaves in both; the next words are not given."""
    script.learn(0, 300)
    losses, other = script.score(), np.full(50, 40, np.uint16)
    training = (np.append(other, TAPE[:201]), np.concatenate([TAPE[290:297], other]))
    record = script.ledger(losses, training).record
    assert record.num_learned_before == 100 and record.first_learned_before == 201
    assert script.ledger(losses, (other,)).record.num_learned_before == 300


def test_the_last_of_several_readings_of_each_document_is_a_pass(script, monkeypatch):
    """Documents one after the other, the last first, each scored and learned three times over."""
    starts = [0, 200, 450]
    tape = np.where(TAPE == TAPE[0], 0, TAPE)
    tape[starts] = TAPE[0]
    monkeypatch.setitem(globals(), "TAPE", tape)
    monkeypatch.setitem(globals(), "TOKENS", torch.from_numpy(tape.astype(np.int64)))
    script.score()
    losses = torch.empty(600)
    for start, stop in reversed(list(pairwise([*starts, 600]))):
        for _ in range(3):
            for begin in range(start, stop, 50):
                losses[begin : begin + 50] = script.score(begin, begin + 50)
                script.learn(begin, begin + 50)
    ledger = script.ledger(losses)
    assert ledger.losses == pytest.approx(losses.numpy())
    assert ledger.record.num_learned_before == 600


def test_the_best_of_several_scorings_is_no_pass(script):
    first = script.score()
    script.learn()
    ledger = script.ledger(torch.minimum(first, script.score()))
    assert ledger.record.is_best_of_several and ledger.losses is None


def test_a_score_that_no_noted_losses_make_is_not_evaluated(script):
    ledger = script.ledger(script.score() * 0.9)
    assert "mean of no pass" in ledger.record.not_evaluated and ledger.losses is None


def test_probabilities_that_add_up_to_more_than_one_are_noted(script):
    log_loss = listening(functional.nll_loss, script.record)
    logits = script.table.detach()[TOKENS[:600]].log_softmax(1) + 0.5
    losses = log_loss(logits, TOKENS[1:601], reduction="none")
    assert script.ledger(losses).record.largest_log_sum == pytest.approx(0.5, abs=1e-5)


def test_what_the_script_gets_is_what_it_would_get_alone(script):
    logits, target = torch.randn(6, 32), torch.tensor([3, -1, 4, 1, -1, 5])
    heard = script.loss(logits, target, ignore_index=-1)
    assert heard == functional.cross_entropy(logits, target, ignore_index=-1)
    shares = torch.full((6, 32), 1 / 32)
    assert script.loss(logits, shares) == functional.cross_entropy(logits, shares)
    assert script.loss(logits[0], target[0]) == functional.cross_entropy(logits[0], target[0])


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x01\x00\x00\x00\xff\xff\xff\xff" * 2])
def test_any_other_file_is_not_evaluated(tmp_path, content):
    path = tmp_path / "record.bin"
    path.write_bytes(content)
    ledger = read_ledger(path, TAPE, 3.0)
    assert ledger.losses is None and ledger.record.not_evaluated
