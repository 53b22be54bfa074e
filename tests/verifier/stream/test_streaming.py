"""Sessions end before their wall, and others go on where they ended."""

from verifier.stream.streaming import Pace


def test_a_round_begins_only_where_one_of_twice_the_longest_would_end(monkeypatch):
    seconds = iter([10.0, 18.0, 20.0])
    monkeypatch.setattr("verifier.stream.streaming.time.monotonic", lambda: next(seconds))
    pace = Pace(wall_seconds=38.5, started=0.0)
    assert [pace.has_time() for _ in range(3)] == [True, True, False]


def test_what_one_session_has_no_time_for_others_score_from_cold_starts(climb, monkeypatch):
    monkeypatch.setattr(Pace, "has_time", lambda self: False)
    [stream] = climb()["streams"]
    assert stream["num_sessions"] == 4 and stream["num_targets"] == stream["tape_targets"]
    assert stream["largest_difference_nats"] < 1e-6
    assert stream["decoded"]["first_difference"] is None
