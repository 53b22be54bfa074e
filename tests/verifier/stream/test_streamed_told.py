"""What streaming showed stands in every report, and its rule tells noise from gain."""

import pytest
from evidence_on_file import whole_run

from verifier import pipeline
from verifier.reports.run_notes import stream_note
from verifier.rulebook import load_rulebook
from verifier.schemas.run_record_json import Evidence
from verifier.schemas.stream_record_json import NO_STREAM

EVIDENCE = whole_run("stream")
DECODED = {
    "num_targets": 100,
    "code_bytes": 52,
    "score_bytes": 50.4,
    "first_difference": None,
    "wall_seconds": 1.0,
}


def changed(**fields: object) -> Evidence:
    return whole_run("stream", {f"streams.0.{name}": value for name, value in fields.items()})


def answer(evidence: Evidence):
    verdict = pipeline.judge(evidence, load_rulebook("10min_16mb"), "readme-strict")
    [rule] = [r for r in verdict.rules if r.rule == "streamed_score_differs"]
    return rule


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"largest_gain_nats": 2e-4}, "broken"),  # a token that no noise of 3e-7 explains
        ({"largest_gain_nats": 0.2, "median_difference_nats": 3e-3}, "passed"),  # as in bf16
        ({"gain_nats": 1.5e-4}, "broken"),
        ({"gain_nats": 1.5e-4, "gain_error_nats": 2e-5}, "passed"),
        ({"gain_nats": -0.1, "largest_gain_nats": 0.0}, "passed"),
        ({"gain_nats": None}, "not_evaluated"),
        ({"num_drawn": 200_000}, "passed"),  # of 131,072 that were shown
        ({"num_drawn": 300_000}, "not_evaluated"),
        ({"num_drawn": 131_073, "num_documents": 19}, "not_evaluated"),
        ({"broken": "answer 7: row 0 adds up to 1.2"}, "not_evaluated"),
    ],
)
def test_lower_losses_break_the_rule_beyond_the_noise_alone(fields, outcome):
    assert answer(changed(**fields)).outcome == outcome


def test_streaming_proves_nothing_where_the_data_could_be_seen():
    last = len(EVIDENCE.guarantees) - 1
    assert EVIDENCE.guarantees[last].name == "validation_hidden_in_training"
    told = answer(whole_run("stream", {f"guarantees.{last}.grade": "absent"}))
    assert told.outcome == "not_evaluated" and "does not hide" in told.reason


def test_who_offers_no_stream_is_not_held_to_it():
    assert answer(changed(not_evaluated=NO_STREAM)).severity == "info"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "131,072 of 62,021,632 tokens in 180 documents, 2.070000 nats each"),
        ({"predicting_seconds": 2.0}, "65,536 tokens a second"),
        ({"decoded": DECODED}, "decoded again from 52 bytes, where the score says 50"),
        ({"decoded": DECODED | {"first_difference": 7}}, "from token 7 on"),
        ({"loss_nats": None, "broken": "it did not answer in time"}, "did not answer in time"),
    ],
)
def test_a_note_tells_what_was_streamed(fields, words):
    assert words in stream_note(changed(**fields).streams[0])
