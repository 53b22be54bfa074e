"""Changed tapes: what they share with the sample, and where they differ."""

import numpy as np
import pytest

from verifier.probe.tapes.variants import (
    Sample,
    choose_sample,
    draw_changed,
    law_of,
    longest_alone,
    take_apart,
    training_tape,
)

RNG = np.random.default_rng(5)
TEXT = RNG.integers(2, 60, 4_000).astype(np.uint16)
TEXT[[0, 700, 1_500, 1_510, 3_000]] = 1
SAMPLE = Sample(tokens=TEXT, begin=0)


def singles(sample: Sample, seed: int = 7):
    """All changes of a draw, each on its own tape."""
    tapes = draw_changed(sample, np.random.default_rng(seed))
    return [single for tape in tapes for single in take_apart(sample, tape, tape.changes)]


def test_a_sample_begins_with_a_document_and_is_all_where_all_is_short():
    short = choose_sample(TEXT, 900, np.random.default_rng(1))
    assert short.tokens[0] == 1 and len(short.tokens) == 900
    assert (TEXT[short.begin : short.begin + 900] == short.tokens).all()
    assert len(choose_sample(TEXT, 9_000, np.random.default_rng(1)).tokens) == 4_000


def test_a_cut_is_the_first_place_that_differs_and_starts_stay():
    assert len(singles(SAMPLE)) == 6
    for variant in singles(SAMPLE):
        [change] = variant.changes
        assert np.flatnonzero(variant.tokens != TEXT)[0] == change.cut
        assert ((variant.tokens == 1) == SAMPLE.is_start).all()


def test_a_flip_changes_one_token_and_a_poison_most_of_the_document_behind_it():
    for variant in singles(SAMPLE):
        [change], differs = variant.changes, (variant.tokens != TEXT).sum()
        end = next(d.stop for d in SAMPLE.documents if change.cut < d.stop)
        assert (variant.tokens[end:] == TEXT[end:]).all()
        assert differs == 1 if change.kind == "flip" else differs > 0.8 * (end - change.cut) - 3


def test_tapes_share_changes_of_different_documents_alone():
    sample = Sample(tokens=np.resize(TEXT, 40_000), begin=0)
    for seed in range(20):
        tapes = draw_changed(sample, np.random.default_rng(seed))
        assert sum(len(tape.changes) for tape in tapes) == 6 and len(tapes) < 6
        for tape in tapes:
            starts = {sample.document_of(change.cut).start for change in tape.changes}
            assert len(starts) == len(tape.changes)
            alone = take_apart(sample, tape, tape.changes)
            differs = [np.flatnonzero(one.tokens != sample.tokens) for one in alone]
            together = np.flatnonzero(tape.tokens != sample.tokens)
            assert sorted(np.concatenate(differs)) == sorted(together)


def test_one_document_is_replaced_where_a_warm_up_would_read():
    sample = Sample(tokens=np.resize(TEXT, 60_000), begin=0)
    for seed in range(20):
        drawn = [variant.changes[0] for variant in singles(sample, seed)]
        assert min(change.cut for change in drawn if change.kind == "poison") < 1_100


def test_the_law_of_replacements_draws_words_alone():
    law = law_of(SAMPLE)
    assert law.probabilities.sum() == pytest.approx(1) and 1 not in law.words


def test_a_document_alone_is_the_samples_token_by_token():
    variant = longest_alone(SAMPLE)
    assert (TEXT[variant.places] == variant.tokens).all()
    assert list(variant.places) == list(range(1_510, 3_000))


def test_training_documents_make_a_tape_of_their_own():
    tape = training_tape(TEXT[300:], SAMPLE, np.random.default_rng(1))
    assert tape.tokens[0] == 1 and not tape.changes
    assert len(tape.tokens) == len(TEXT) - 700


def test_other_secrets_draw_other_tapes():
    ours, other = ({v.name for v in singles(SAMPLE, seed)} for seed in (7, 8))
    assert ours != other
