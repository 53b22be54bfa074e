"""Changed tapes: what they share with the sample, and where they differ."""

import numpy as np
import pytest

from verifier.probe.variants import Sample, choose_sample, draw_variants, law_of, training_tape

RNG = np.random.default_rng(5)
TEXT = RNG.integers(2, 60, 4_000).astype(np.uint16)
TEXT[[0, 700, 1_500, 1_510, 3_000]] = 1
SAMPLE = Sample(tokens=TEXT, begin=0)


@pytest.fixture
def variants():
    return {v.name: v for v in draw_variants(SAMPLE, np.random.default_rng(7))}


def test_a_sample_begins_with_a_document_and_is_all_where_all_is_short():
    short = choose_sample(TEXT, 900, np.random.default_rng(1))
    assert short.tokens[0] == 1 and len(short.tokens) == 900
    assert (TEXT[short.begin : short.begin + 900] == short.tokens).all()
    assert len(choose_sample(TEXT, 9_000, np.random.default_rng(1)).tokens) == 4_000


def test_a_cut_is_the_first_place_that_differs_and_starts_stay(variants):
    changed = [v for v in variants.values() if v.kind in ("flip", "poison")]
    assert len(changed) == 6
    for variant in changed:
        assert np.flatnonzero(variant.tokens != TEXT)[0] == variant.cut
        assert ((variant.tokens == 1) == SAMPLE.is_start).all()


def test_a_flip_changes_one_token_and_a_poison_most_of_the_document_behind_it(variants):
    for variant in variants.values():
        differs = (variant.tokens != TEXT).sum() if len(variant.tokens) == len(TEXT) else 0
        if variant.kind == "flip":
            assert differs == 1
        if variant.kind == "poison":
            end = next(d.stop for d in SAMPLE.documents if variant.cut < d.stop)
            assert (variant.tokens[end:] == TEXT[end:]).all()
            assert differs > 0.8 * (end - variant.cut) - 3


def test_one_document_is_replaced_where_a_warm_up_would_read():
    text = np.resize(TEXT, 60_000)
    sample = Sample(tokens=text, begin=0)
    for seed in range(20):
        drawn = draw_variants(sample, np.random.default_rng(seed))
        assert min(v.cut for v in drawn if v.kind == "poison") < 1_100


def test_drawn_tokens_are_those_of_the_law(variants):
    law, drawn = law_of(SAMPLE), variants["spliced"].spliced
    assert law.probabilities.sum() == pytest.approx(1) and 1 not in law.words
    assert set(np.flatnonzero(variants["spliced"].tokens != TEXT)) <= set(drawn)
    assert 0.2 < len(drawn) / len(TEXT) < 0.3


def test_rearranged_documents_are_the_samples_token_by_token(variants):
    for name in ("alone", "truncated"):
        variant = variants[name]
        assert (TEXT[variant.places] == variant.tokens).all()
    assert list(variants["alone"].places) == list(range(1_510, 3_000))


def test_training_documents_make_a_tape_of_their_own():
    tape = training_tape(TEXT[300:], SAMPLE, np.random.default_rng(1))
    assert tape.tokens[0] == 1 and tape.cut is None
    assert len(tape.tokens) == len(TEXT) - 700


def test_other_secrets_draw_other_tapes(variants):
    other = {v.name: v for v in draw_variants(SAMPLE, np.random.default_rng(8))}
    assert set(other) != set(variants)
    assert (other["spliced"].tokens != variants["spliced"].tokens).any()
