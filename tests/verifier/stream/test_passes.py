"""Through the page's example and back, in two processes over real pipes."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from stream_text import text

from verifier.schemas.run_record_json import StreamPlan
from verifier.stream.passes import Passage, decode, score
from verifier.stream.pieces import Amounts, cut, draw

TAPE = text(1)
PLAN = StreamPlan(
    argv=("python", "train_gpt.py"),
    environment={},
    piece_tokens=None,
    context_tokens=0,
    num_lanes=16,
)
SOME = Amounts(num_targets=600, piece_targets=30)


@pytest.fixture
def passage():
    pieces = draw(cut(TAPE, PLAN), SOME, np.random.default_rng(0))
    return Passage(pieces=pieces, tape=TAPE, num_lanes=PLAN.num_lanes)


def test_a_second_process_gives_the_text_back_from_its_code(hold, passage):
    coded = hold(lambda predictor: score(passage, predictor, lambda: True))
    assert len(coded.losses) == len(passage.targets) and (coded.losses > 0).all()
    assert np.array_equal(hold(lambda p: decode(passage, coded.code, p)), passage.targets)
    assert abs(len(coded.code) - coded.losses.sum() / np.log(2) / 8) < 8


def test_a_session_without_time_ends_behind_a_round(hold, passage):
    coded = hold(lambda predictor: score(passage, predictor, lambda: False))
    first = replace(passage, pieces=passage.pieces[:16])
    assert coded.pieces == first.pieces and len(coded.losses) == len(first.targets)
    assert np.array_equal(hold(lambda p: decode(first, coded.code, p)), first.targets)


def test_a_round_that_time_runs_out_in_is_cut_short_and_decoded(hold, passage):
    def talk(predictor):
        seconds = iter([*range(11), *[99] * 99])
        with pytest.MonkeyPatch.context() as patch:
            predictor.patience = replace(predictor.patience, until=50.0)
            patch.setattr(
                "verifier.stream.predictor.time", SimpleNamespace(monotonic=lambda: next(seconds))
            )
            return score(passage, predictor, lambda: True)

    coded = hold(talk)
    assert 0 < max(p.num_targets for p in coded.pieces) < 12 and len(coded.pieces) == 16
    short = replace(passage, pieces=coded.pieces)
    assert np.array_equal(hold(lambda p: decode(short, coded.code, p)), short.targets)


def test_a_process_that_is_not_quite_the_same_gives_other_text(hold, passage):
    code = hold(lambda predictor: score(passage, predictor, lambda: True)).code
    noise = (
        "rows = table[",
        "rows = np.random.default_rng().normal(1, 1e-6, 64).astype('<f4') * table[",
    )
    found = hold(lambda predictor: decode(passage, code, predictor), *noise)
    assert len(found) == len(passage.targets) and not np.array_equal(found, passage.targets)
