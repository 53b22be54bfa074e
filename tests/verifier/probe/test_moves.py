"""A changed tape's losses beside the sample's: what was noted in the same place is compared."""

import numpy as np
import pytest

from verifier.probe.assessment import assess
from verifier.probe.moves import Reference
from verifier.probe.scored import Scored
from verifier.probe.tapes.variants import Change, Sample, Variant, plain

SIZE, CUT = 2_000, 1_500


@pytest.fixture
def reference() -> Reference:
    tokens = np.random.default_rng(2).integers(2, 60, SIZE).astype(np.uint16)
    tokens[[0, 900]] = 1
    sample = Sample(tokens=tokens, begin=0)
    return Reference.of(sample, np.ones(SIZE - 1), scored(np.ones(SIZE - 1), range(SIZE - 1)))


def scored(losses, noted_at) -> Scored:
    return Scored(
        losses=losses.astype(np.float32),
        detail="exit code 0",
        wall_seconds=1.0,
        noted_at=np.array(noted_at),
    )


def changed(reference: Reference) -> Variant:
    tokens = reference.sample.tokens.copy()
    tokens[CUT] = 60
    change = Change(kind="flip", cut=CUT, end=CUT + 1)
    places = np.arange(SIZE)
    return Variant(kind="changed", name="flip", tokens=tokens, places=places, changes=(change,))


@pytest.mark.parametrize(("num_elsewhere", "moves"), [(0, 1.0), (10, 0.0)])
def test_a_loss_that_was_noted_elsewhere_is_another_one(reference, num_elsewhere, moves):
    """A window read the token again, which the instrument took for its first reading."""
    losses, noted_at = np.ones(SIZE - 1), np.arange(SIZE - 1)
    losses[1_000:1_010] = 2.0
    noted_at[1_000 : 1_000 + num_elsewhere] += 5_000
    [move] = reference.moves(changed(reference), scored(losses, noted_at))
    assert move.in_document_nats == moves and move.earlier_nats == 0


def test_where_many_are_elsewhere_nothing_is_said(reference):
    [move] = reference.moves(changed(reference), scored(np.ones(SIZE - 1), range(1, SIZE)))
    assert "noted elsewhere" in move.not_scored and move.in_document_nats is None


def test_a_repeat_that_was_noted_elsewhere_measures_no_noise(reference):
    sample, losses = reference.sample, np.ones(SIZE - 1)
    variants = [plain(sample, "base"), plain(sample, "repeat")]
    runs = {"base": scored(losses, range(SIZE - 1)), "repeat": scored(losses, range(1, SIZE))}
    record = assess(sample, variants, runs, "ab")
    assert record.noise_nats is None and "noted elsewhere" in record.not_evaluated
