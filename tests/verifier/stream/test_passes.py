"""Through the page's example and back, in two processes over real pipes."""

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
    losses, code = hold(lambda predictor: score(passage, predictor, lambda: True))
    assert len(losses) == len(passage.targets) and (losses > 0).all()
    assert np.array_equal(hold(lambda p: decode(passage, code, p)), passage.targets)
    assert abs(len(code) - losses.sum() / np.log(2) / 8) < 8


def test_a_session_without_time_ends_behind_a_round(hold, passage):
    losses, code = hold(lambda predictor: score(passage, predictor, lambda: False))
    first = Passage(pieces=passage.pieces[:16], tape=TAPE, num_lanes=16)
    assert len(losses) == len(first.targets) < len(passage.targets)
    assert np.array_equal(hold(lambda p: decode(first, code, p)), first.targets)


def test_a_process_that_is_not_quite_the_same_gives_other_text(hold, passage):
    _, code = hold(lambda predictor: score(passage, predictor, lambda: True))
    noise = (
        "rows = table[",
        "rows = np.random.default_rng().normal(1, 1e-6, 64).astype('<f4') * table[",
    )
    found = hold(lambda predictor: decode(passage, code, predictor), *noise)
    assert len(found) == len(passage.targets) and not np.array_equal(found, passage.targets)
