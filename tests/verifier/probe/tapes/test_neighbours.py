"""Half of the documents keep their words, and their losses where nothing goes between documents."""

import numpy as np
import pytest

from verifier.probe.tapes.neighbours import is_kept, replace_neighbours
from verifier.probe.tapes.variants import Sample, law_of

TEXT = np.random.default_rng(5).integers(2, 60, 4_000).astype(np.uint16)
TEXT[[0, 700, 1_500, 1_510, 3_000]] = 1
SAMPLE = Sample(tokens=TEXT, begin=0)


def test_every_second_document_keeps_its_words_and_all_their_starts():
    for seed in range(4):
        variant = replace_neighbours(SAMPLE, law_of(SAMPLE), np.random.default_rng(seed))
        kept = is_kept(SAMPLE, variant)
        assert ((variant.tokens == 1) == SAMPLE.is_start).all()
        assert (variant.tokens[kept] == TEXT[kept]).all() and 0.2 < kept.mean() < 0.8
        whole = [kept[d].all() for d in SAMPLE.documents]
        assert whole in ([True, False, True, False, True], [False, True, False, True, False])


@pytest.mark.parametrize(
    ("mode", "is_apart"),
    [("per_document", True), ("plain", True), ("reset_omitted", False), ("score_first", False)],
)
def test_what_goes_from_document_to_document_moves_those_that_were_kept(assessed, mode, is_apart):
    [move] = [m for m in assessed(mode).moves if m.kind == "neighbours"]
    assert (move.largest_nats == 0) == is_apart
