"""Losses that move by more than rounding and by less than what a rule is broken by."""

import pytest
from evidence_on_file import read_evidence

from verifier import pipeline
from verifier.findings import Outcome
from verifier.rulebook import load_rulebook


@pytest.fixture
def answer(tmp_path):
    """What the rule says where the loss before a flip moved by so many nats."""

    def judged(nats: float, noise_nats: float = 0.0):
        case = tmp_path / f"{nats:f}_{noise_nats:f}.yaml"
        case.write_text(
            "changed_from: probe\n"
            f"probe.noise_nats: {noise_nats}\n"
            f"probe.moves.2.in_document_nats: {nats:f}\n"
            "probe.moves.3.in_document_nats: 0.0\n"
            "probe.moves.4.in_document_nats: 0.0\n"
            "probe.moves.4.earlier_nats: 0.0\n"
        )
        verdict = pipeline.judge(read_evidence(case), load_rulebook("10min_16mb"), "readme-strict")
        return next(r for r in verdict.rules if r.rule == "future_token_dependence")

    return judged


def test_a_loss_that_moves_by_more_than_rounding_gets_no_pass(answer):
    assert answer(0.0).outcome is answer(0.000005).outcome is Outcome.PASSED
    little = answer(0.00004)
    assert little.outcome is Outcome.NOT_EVALUATED
    assert "moves by 4e-05 nats: too little to reject for" in little.reason


def test_it_does_where_the_noise_is_as_large(answer):
    assert answer(0.00004, noise_nats=0.00001).outcome is Outcome.PASSED
