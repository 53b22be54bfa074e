"""Beginnings of documents and what lies behind them: whichever is known, and neither by luck."""

import numpy as np
import pytest

from verifier.probe.fresh.assessment import assess_fresh
from verifier.probe.fresh.documents import CUT_TOKENS, Document
from verifier.probe.fresh.exchange import PairTable
from verifier.probe.fresh.mixture import Mixture, draw
from verifier.probe.scored import Scored

NUM, LENGTH, NATS = 60, 1_600, 4.0


@pytest.fixture
def asked():
    """Documents of random losses, which are lower where a kind is known; gives the answer."""

    def call(known_from: int, known_to: int, seed: int = 3) -> dict:
        rng = np.random.default_rng(seed)
        is_fresh = rng.permutation(NUM) < NUM // 2
        sizes = np.append(0, np.full(LENGTH - 1, 3)).astype(np.uint16)
        tokens = [np.append(1, rng.integers(2, 99, LENGTH - 1)) for _ in range(NUM)]
        documents = [Document(tokens=t.astype(np.uint16), sizes=sizes) for t in tokens]
        losses = rng.normal(NATS, 1, (NUM, LENGTH)) + rng.normal(0, 0.1, (NUM, 1))
        losses[~is_fresh, known_from:known_to] -= 0.5
        told = Scored(losses=losses.ravel()[1:].clip(0), detail="", wall_seconds=0.0)
        table = PairTable(rng.integers(2, 99, 5_000).astype(np.uint16))
        mixture = Mixture(documents=documents, is_fresh=is_fresh)
        return assess_fresh(mixture, told, table, rng)

    return call


def test_what_is_known_of_ends_alone_shows_in_the_rests(asked):
    told = asked(CUT_TOKENS, LENGTH)
    assert told["part"] == "rests" and told["p_value"] <= 1e-4 and told["gap_bpb"] > 0.1


def test_what_is_known_of_beginnings_shows_there(asked):
    told = asked(1, CUT_TOKENS)
    assert told["part"] == "beginnings" and told["p_value"] <= 1e-4


def test_who_knows_nothing_is_as_likely_as_any(asked):
    values = [asked(0, 0, seed)["p_value"] for seed in range(6)]
    assert min(values) > 1e-3 and max(values) > 0.2


def test_some_documents_stay_whole_and_tokens_are_as_many_of_both_kinds():
    documents = [Document(tokens=np.ones(5_000, dtype=np.uint16)) for _ in range(400)]
    known, fresh = draw((documents, documents), np.random.default_rng(1))
    lengths = [len(document) for document in (*known, *fresh)]
    assert set(lengths) == {CUT_TOKENS, 5_000} and 0.15 < np.mean(np.array(lengths) > 2_000) < 0.35
    assert abs(sum(map(len, known)) - sum(map(len, fresh))) <= 5_000
