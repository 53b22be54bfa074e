"""Answers are folded into grades, and no grade is better than what was seen."""

import tempfile
from dataclasses import replace

import pytest

from verifier.errors import SandboxUnavailableError
from verifier.sandbox.bubblewrap import Bubblewrap
from verifier.sandbox.conformance.checks import AT_START, Answer
from verifier.sandbox.conformance.planting import planted_around
from verifier.sandbox.plain_process import PlainProcess
from verifier.sandbox.probing import grade_guarantees


def answers(**outcomes: str) -> tuple[Answer, ...]:
    """All that is tried before a run: held, but for those that are named."""
    return tuple(
        Answer(check=check, outcome=outcomes.get(check.name, "held"), reason="why")
        for check in AT_START
    )


def grades(**outcomes: str) -> dict[str, str]:
    return {held.name: held.grade for held in grade_guarantees(answers(**outcomes))}


def test_everything_held_is_everything_proved():
    assert set(grades().values()) == {"proved"}
    assert set(grades()) >= {"network", "file_writes", "secrets", "process_leaks", "memory"}


@pytest.mark.parametrize("check", AT_START, ids=lambda check: check.name)
def test_whatever_does_not_hold_costs_its_guarantee_and_no_other(check):
    costs = {name: grade for name, grade in grades(**{check.name: "not_held"}).items()}
    assert costs.pop(check.guarantee) == check.otherwise != "proved"
    assert set(costs.values()) == {"proved"}


def test_what_could_not_be_tried_is_absent():
    tried = [c.name for c in AT_START if c.guarantee == "memory"]
    assert grades(**dict.fromkeys(tried, "not_applicable"))["memory"] == "absent"


def test_the_reason_stands_in_the_report():
    [held] = [
        g for g in grade_guarantees(answers(loopback_works="not_held")) if g.grade != "proved"
    ]
    assert held.detail == "loopback_works: why"


def test_a_plain_process_is_promised_nothing(folder):
    found = {held.name: held.grade for held in PlainProcess().guarantees(folder)}
    assert {found[name] for name in ("file_writes", "secrets", "process_leaks")} == {"absent"}
    assert found["memory"] != "proved"
    assert list(folder.iterdir()) == []


def test_a_sandbox_that_cannot_run_its_probes_is_none(folder):
    class Mute(Bubblewrap):
        def execute(self, command, limits, on_line):
            return super().execute(replace(command, argv=("true",)), limits, on_line)

    with pytest.raises(SandboxUnavailableError, match="could not run its own probes"):
        Mute().guarantees(folder)


def test_a_folder_whose_sockets_have_too_long_a_name_is_told_and_left_empty(tmp_path, monkeypatch):
    deep = tmp_path / ("t" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with (
        pytest.raises(SandboxUnavailableError, match="set a shorter TMPDIR"),
        planted_around(tmp_path / "folder", sees_host_paths=True),
    ):
        pass
    assert not list(deep.iterdir())
