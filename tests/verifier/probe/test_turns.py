"""A script that scores long documents first says so, and is held to what it says."""

import json
from pathlib import Path

import numpy as np
import pytest

from verifier.probe.asking import ask
from verifier.probe.scored import Scored
from verifier.probe.tapes.variants import Sample, Variant, draw_changed, plain
from verifier.probe.turns import read_turns

RNG = np.random.default_rng(4)
TEXT = RNG.integers(2, 40, 3_000).astype(np.uint16)
STARTS = np.array([0, 500, 1_050, 1_500, 2_100, 2_510])
TEXT[STARTS] = 1
SAMPLE = Sample(tokens=TEXT, begin=0)
EVENTS = [
    {"event": "run", "version": 1, "process": 0, "processes": 1, "targets": 9},
    {"event": "batch", "documents": [[4, 5], [0, 4]]},
    {"event": "score", "chunk": [0, 3]},
    {"event": "learn", "chunk": [0, 3]},
    {"event": "score", "chunk": [3, 6]},
]


def tell(folder: Path, events: list, process: int = 0) -> Path:
    path = folder / f"token_losses.f32.order.{process}.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return folder


def scored(tokens: np.ndarray, folder: Path, *, looks_ahead: bool = False) -> Scored:
    """Counts of words, learned from each document behind its score, the longest first."""
    begins = np.flatnonzero(tokens == 1)
    spans = [range(a, b) for a, b in zip(begins, [*begins[1:], len(tokens)], strict=True)]
    spans = [range(span.start, min(span.stop, len(tokens) - 1)) for span in spans]
    spans.sort(key=len, reverse=True)
    counts, losses, events = np.ones(64), np.zeros(len(tokens) - 1), EVENTS[:1]
    for span, following in zip(spans, [*spans[1:], spans[-1]], strict=True):
        if looks_ahead:
            np.add.at(counts, tokens[np.array(following) + 1], 1)
        targets = tokens[np.array(span) + 1]
        losses[span.start : span.stop] = -np.log(counts[targets] / counts.sum())
        np.add.at(counts, targets, 1)
        events = [*events, {"event": "batch", "documents": [[span.start, len(span)]]}]
        events = [*events, {"event": "score", "chunk": [0, len(span)]}]
    return Scored(
        losses=losses.astype(np.float32),
        detail="exit code 0",
        wall_seconds=0.0,
        turns=read_turns(tell(folder, events), len(losses)),
    )


def changed_moves(folder: Path, **options):
    def score(variant: Variant) -> Scored:
        return scored(variant.tokens, folder, **options)

    planned = [plain(SAMPLE, "base"), *draw_changed(SAMPLE, np.random.default_rng(7))]
    record = ask(SAMPLE, planned, score, "ab")
    return [move for move in record.moves if move.kind in ("flip", "poison")]


def test_what_was_scored_later_may_know_and_what_was_scored_before_may_not(tmp_path):
    moves = changed_moves(tmp_path)
    assert all(m.by_told_order and m.earlier_nats == 0 for m in moves)
    assert not any(m.in_document_nats for m in moves), "later documents were scored before it"
    assert any(m.num_held > 0 for m in moves)


def test_who_learns_the_next_document_early_breaks_the_order_that_he_tells(tmp_path):
    assert max(move.earlier_nats for move in changed_moves(tmp_path, looks_ahead=True)) > 0.001


def test_each_target_has_the_pass_that_scored_it(tmp_path):
    turns = read_turns(tell(tmp_path, EVENTS), 9)
    assert turns.passes.tolist() == [2, 2, 2, 4, 2, 2, 2, 4, 4]
    assert turns.after(np.array([4])).tolist() == [False] * 3 + [True] + [False] * 3 + [True] * 2


def test_processes_know_nothing_of_each_other_before_a_pause(tmp_path):
    whole = [{"event": "score", "chunk": [0, 2]}, {"event": "score", "chunk": [2, 4]}]
    late = [{"event": "all_weights"}, {"event": "batch", "documents": [[8, 4]]}, *whole]
    tell(tmp_path, [EVENTS[0], {"event": "batch", "documents": [[0, 4]]}, *whole, *late])
    tell(tmp_path, [EVENTS[0], {"event": "batch", "documents": [[4, 4]]}, *whole], process=1)
    knows = read_turns(tmp_path, 12).after(np.array([0]))
    assert knows.tolist() == [False, False, True, True] + [False] * 4 + [True] * 4


@pytest.mark.parametrize(
    "events",
    [
        EVENTS[:-1],  # some are never scored
        [*EVENTS, EVENTS[1], EVENTS[2]],  # some twice
        [*EVENTS[:3], EVENTS[4], {"event": "score", "chunk": [0, 3]}],
        [{**EVENTS[0], "version": 2}, *EVENTS[1:]],
        [EVENTS[0], {"event": "batch", "documents": [[-4, 9]]}, EVENTS[2]],
        [EVENTS[0], {"event": "batch", "documents": [[0, 10**18]]}, {"chunk": "[0, 999999999999]"}],
        [EVENTS[0], {"event": "batch", "documents": [[0, "nine"]]}],
        [EVENTS[0], ["score"]],
    ],
)
def test_an_order_that_is_none_is_not_believed(tmp_path, events):
    assert read_turns(tell(tmp_path, events), 9) is None


def test_no_order_is_none(tmp_path):
    assert read_turns(tmp_path, 9) is None
    (tmp_path / "token_losses.f32.order.0.jsonl").write_bytes(b"[" * 100_000)
    assert read_turns(tmp_path, 9) is None
