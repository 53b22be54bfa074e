"""How a verdict is put into words: nothing is said twice."""

from evil_verdicts import verdict

from verifier.reports.figures import other_profiles
from verifier.schemas.verdict_json import ProfileVerdict


def told(*others):
    made = [ProfileVerdict(profile=p, verdict=v, because=b) for p, v, b in others]
    return list(other_profiles(verdict("x", other_profiles=tuple(made))))


def test_profiles_of_one_answer_and_reason_share_a_line():
    open_, reason = "inconclusive", "nothing was run"
    answer = f"{open_} ({reason})"
    assert told(("a", open_, reason), ("b", open_, reason)) == [(("a", "b"), answer)]
    assert len(told(("a", open_, reason), ("b", open_, "another"))) == 2


def test_the_verdict_itself_is_not_told_again():
    assert told(("a", "rejected", "broken: failed_run")) == [(("a",), "the same")]
