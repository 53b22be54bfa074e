from dataclasses import replace

import numpy as np
import pytest
from stream_text import BOS, NUM_DOCUMENTS, text

from verifier.schemas.run_record_json import StreamPlan
from verifier.stream.pieces import Amounts, count_documents, cut, draw, groups, loss_places

TAPE = text(1)
ALL = Amounts(num_targets=len(TAPE), piece_targets=len(TAPE))


def plan(piece_tokens=None, context_tokens=0):
    return StreamPlan(
        argv=("python", "train_gpt.py"),
        environment={},
        piece_tokens=piece_tokens,
        context_tokens=context_tokens,
        num_lanes=4,
    )


PLANS = [plan(), plan(context_tokens=8), plan(16), plan(16, 48), plan(16, 7)]


@pytest.mark.parametrize("plan", PLANS)
def test_pieces_hold_every_target_once(plan):
    places = loss_places(cut(TAPE, plan))
    assert np.array_equal(places, np.arange(len(TAPE) - 1))


@pytest.mark.parametrize("plan", PLANS)
def test_no_process_is_given_what_it_is_asked(plan):
    drawn = draw(cut(TAPE, plan), ALL, np.random.default_rng(0))
    parted = groups(drawn, TAPE)
    assert sorted(map(id, drawn)) == sorted(id(piece) for group in parted for piece in group)
    for group in parted:
        asked = {place + 1 for place in loss_places(group)}
        given = [range(piece.given_from, piece.begin + 1) for piece in group]
        told = {place for places in given for place in places if len(places) > 1}
        told |= {p[0] for p in given if len(p) == 1 and TAPE[p[0]] != BOS}
        assert not asked & told


def test_documents_are_streamed_by_one_process_and_adjoining_windows_by_two():
    rng = np.random.default_rng(0)
    assert len(groups(draw(cut(TAPE, plan()), ALL, rng), TAPE)) == 1
    assert len(groups(draw(cut(TAPE, plan(16)), ALL, rng), TAPE)) == 2


def test_a_sample_is_large_enough_secret_and_cut_to_length():
    pieces, amounts = cut(TAPE, plan()), Amounts(num_targets=200, piece_targets=20)
    drawn = [draw(pieces, amounts, np.random.default_rng(seed)) for seed in (0, 1)]
    assert drawn[0] != drawn[1]
    for sample in drawn:
        assert 200 <= sum(piece.num_targets for piece in sample) < 220
        assert max(piece.num_targets for piece in sample) == 20


def test_documents_are_counted_once_however_many_pieces_lie_in_them():
    assert count_documents(cut(TAPE, plan(3)), TAPE) == NUM_DOCUMENTS
    first = replace(cut(TAPE, plan())[0])
    assert count_documents([first], TAPE) == 1
