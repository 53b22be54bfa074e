"""The whole rung in the sandbox: what it proves of the page's example, and whom it catches."""

import numpy as np
import pytest
from stream_text import CONTRACT, NUM_DOCUMENTS, text

SEES_THE_TARGET = (
    'losses.astype("<f4")',
    '(losses * 0.9).astype("<f4")',
)


def rule(verdict, name="streamed_score_differs"):
    return next(r for r in verdict["rules"] if r["rule"] == name)


def test_an_honest_score_is_ours_and_decodes(climb):
    verdict = climb()
    [stream] = verdict["streams"]
    assert stream["num_targets"] == stream["tape_targets"] == stream["num_compared"]
    assert stream["num_documents"] == NUM_DOCUMENTS and stream["num_sessions"] == 1
    assert stream["largest_difference_nats"] < 1e-6
    decoded = stream["decoded"]
    assert decoded["first_difference"] is None and decoded["broken"] is None
    assert abs(decoded["code_bytes"] - decoded["score_bytes"]) < 8
    assert verdict["measurements"][0]["score_origin"] == "streamed"
    assert verdict["measurements"][0]["val_loss_nats"] == pytest.approx(stream["loss_nats"])
    assert {"name": "score", "grade": "proved"}.items() <= verdict["guarantees"][-1].items()
    assert rule(verdict)["outcome"] == rule(verdict, "below_own_entropy")["outcome"] == "passed"
    sampled = verdict["sampled"]
    assert 0 < sampled["evaluated_nats"] - sampled["entropy_nats"] < 0.06  # chance of a start


def test_an_evaluation_that_knows_more_than_the_stream_is_caught(climb):
    verdict = climb(*SEES_THE_TARGET)
    assert verdict["verdict"] == "rejected"
    assert "lower than ours" in rule(verdict)["findings"][0]["message"]
    assert rule(verdict, "below_own_entropy")["outcome"] == "broken"
    [stream] = verdict["streams"]
    assert stream["evaluated_nats"] == pytest.approx(0.9 * stream["loss_nats"])
    assert verdict["measurements"][0]["val_loss_nats"] == stream["loss_nats"]


def test_a_stream_that_breaks_off_decides_nothing(climb):
    verdict = climb("number += 1", "number += 1; sys.exit('no more')")
    assert verdict["verdict"] == "inconclusive"
    reason = rule(verdict)["reason"]
    assert "did not answer" in reason and "no more" in reason
    assert verdict["measurements"][0]["score_origin"] == "token_losses"


def test_a_folder_without_a_stream_is_left_as_it_is(climb):
    contract = {key: value for key, value in CONTRACT.items() if key != "stream"}
    verdict = climb(contract=contract)
    assert rule(verdict)["severity"] == "info"
    assert "offers no stream" in rule(verdict)["reason"]


def test_a_text_of_its_own_goes_on_from_documents_that_it_recognises(climb):
    starts = np.flatnonzero(text(1) == 1)
    known = {tuple(text(1)[start : start + 3].tolist()) for start in starts}
    verdict = climb(
        '    losses.astype("<f4")',
        "    document = np.cumsum(text == 1)[1:]\n"
        f"    known = [tuple(text[at : at + 3].tolist()) in {known} for at in "
        "np.flatnonzero(text == 1)]\n"
        "    losses = np.where(np.array(known)[document - 1], 0.7 * losses, losses)\n"
        '    losses.astype("<f4")',
    )
    assert rule(verdict, "below_own_entropy")["outcome"] == "broken"
