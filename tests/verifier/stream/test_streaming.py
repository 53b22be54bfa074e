"""Sessions end before their wall, and others go on where they ended."""

from verifier.stream.streaming import Pace


def test_a_round_begins_only_where_one_of_twice_the_longest_would_end(monkeypatch):
    seconds = iter([10.0, 10.0, 18.0, 18.0, 20.0])
    monkeypatch.setattr("verifier.stream.streaming.time.monotonic", lambda: next(seconds))
    pace = Pace(wall_seconds=38.5, started=0.0)
    assert [pace.has_time() for _ in range(3)] == [True, True, False]


def test_what_one_session_has_no_time_for_others_score_from_cold_starts(climb, monkeypatch):
    monkeypatch.setattr(Pace, "has_time", lambda self: False)
    [stream] = climb()["streams"]
    assert stream["num_sessions"] == 4 and stream["num_targets"] == stream["tape_targets"]
    assert stream["largest_difference_nats"] < 1e-6
    assert stream["decoded"]["first_difference"] is None


def test_behind_a_seeds_time_the_rest_of_the_sample_is_left_out_and_told(climb, monkeypatch):
    monkeypatch.setattr(Pace, "has_time", lambda self: False)
    monkeypatch.setattr(Pace, "goes_on", lambda self: False)
    verdict = climb()
    [stream] = verdict["streams"]
    assert stream["num_sessions"] == 1 and stream["num_documents"] == 16
    assert stream["num_targets"] < stream["num_drawn"] == stream["tape_targets"]
    assert verdict["measurements"][0]["score_origin"] == "token_losses"
    [rule] = [r for r in verdict["rules"] if r["rule"] == "streamed_score_differs"]
    assert "time ran out after 16 documents" in rule["reason"]


def test_no_session_begins_that_would_end_behind_a_seeds_time(monkeypatch):
    seconds = iter([10.0, 10.0, 12.0, 25.0])
    monkeypatch.setattr("verifier.stream.streaming.time.monotonic", lambda: next(seconds))
    pace = Pace(wall_seconds=100.0, until=32.0, started=0.0)
    assert pace.has_time() and pace.goes_on() and not pace.goes_on()
