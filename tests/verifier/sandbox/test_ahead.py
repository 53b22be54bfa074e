"""Probes that go on while the harness loads: what they find, and that they leave nothing."""

import pytest

from verifier.commands.ahead import probed_ahead
from verifier.errors import SandboxUnavailableError
from verifier.sandbox.ahead import ProbesAhead
from verifier.sandbox.conformance.checks import AT_START


def test_they_find_every_guarantee_and_leave_nothing(folder):
    with ProbesAhead("bubblewrap", folder / "runs") as probes:
        held = {enforcement.name: enforcement.grade for enforcement in probes.enforcements()}
    assert set(held) == {check.guarantee for check in AT_START}
    assert held["network"] == held["file_writes"] == "proved"
    assert list((folder / "runs").iterdir()) == []


def test_nobody_who_does_not_ask_leaves_before_they_are_over(folder):
    with ProbesAhead("plain", folder):
        pass
    assert list(folder.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told(folder):
    (folder / "file").touch()
    with ProbesAhead("plain", folder / "file") as probes:
        with pytest.raises(SandboxUnavailableError, match="file: File exists; the sandbox could"):
            probes.enforcements()


def test_without_an_answer_nothing_is_run(folder):
    with ProbesAhead("a sandbox that there is not", folder) as probes:
        with pytest.raises(SandboxUnavailableError):
            probes.enforcements()


@pytest.mark.parametrize(("rung", "plan_only"), [(None, False), ("paper", False), ("rerun", True)])
def test_where_no_run_is_sure_nothing_is_begun(rung, plan_only):
    with probed_ahead({"plan_only": plan_only}, rung) as probes:
        assert probes is None
