"""Every check, on every sandbox, as root and as an ordinary user, by the doctor's own word."""

import functools
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sandbox_users import require_interpreter_of_others

from verifier.sandbox.cgroup import Cgroup
from verifier.sandbox.conformance.checks import AT_START, CHECKS
from verifier.sandbox.conformance.stage import STAGE_LIMITS
from verifier.sandbox.landlock import landlock_abi

USER_ID = 50_999
"""Nobody's: an ordinary user needs no entry in any list."""
BY_NAME = {check.name: check for check in CHECKS}
NO_USER_NAMESPACES = ("bwrap", "--dev-bind", "/", "/", "--unshare-user", "--disable-userns", "--")
"""What refuses its own children a namespace, as many containers do."""
WITHOUT_CGROUP = {"memory_never_passes_the_limit", "memory_files_count", "shared_memory_counts"}
"""Memory is only sampled there: on a busy machine a sample can come too late."""
WITHOUT_NAMESPACES = {
    *("outside_ipv4_has_no_route", "outside_ipv6_has_no_route", "host_loopback_is_unreachable"),
    *("only_loopback_interfaces_exist", "host_processes_are_hidden", "host_file_names_are_hidden"),
    "shared_memory_of_the_host_is_hidden",
}
WITHOUT_OWN_USER = WITHOUT_CGROUP | {
    *("host_socket_file_is_unreachable", "data_modes_cannot_be_changed", "threads_are_limited"),
    *("host_priority_cannot_be_changed", "nothing_is_left_for_the_next_run"),
    "files_in_shared_memory_count",
}
BEFORE_LANDLOCK_6 = {
    *("host_abstract_socket_is_unreachable", "host_processes_cannot_be_signalled"),
    *("outside_web_is_unreachable", "tree_dies_with_the_harness"),
}
"""Kernels before 6.12 close neither abstract sockets nor signals, and before 6.7 no port."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where and as whom the doctor is asked, and what is known not to hold there."""

    sandbox: str
    user_id: int | None = None
    within: tuple[str, ...] = ()
    holes: set[str] = field(default_factory=set)


def has_cgroup() -> bool:
    group = Cgroup.create(STAGE_LIMITS)
    if group is not None:
        group.remove()
    return group is not None


OLD = BEFORE_LANDLOCK_6 if landlock_abi() < 6 else set()
OF_ROOT = set() if has_cgroup() else WITHOUT_CGROUP
SETTINGS = {
    "bubblewrap-root": Setting(sandbox="bubblewrap", holes=OF_ROOT),
    "bubblewrap-user": Setting(sandbox="bubblewrap", user_id=USER_ID, holes=WITHOUT_CGROUP),
    "landlock-root": Setting(sandbox="landlock", holes=OF_ROOT | WITHOUT_NAMESPACES),
    "landlock-user-without-namespaces": Setting(
        sandbox="landlock",
        user_id=USER_ID,
        within=NO_USER_NAMESPACES,
        holes=WITHOUT_NAMESPACES | WITHOUT_OWN_USER | OLD,
    ),
}


@functools.cache
def doctor(name: str) -> dict:
    """What the doctor says of the setting's sandbox; asked once."""
    setting = SETTINGS[name]
    is_root = os.geteuid() == 0
    if setting.user_id is None and not is_root:
        pytest.skip("only root can try what holds for root")
    if setting.user_id is not None or setting.sandbox == "landlock":
        require_interpreter_of_others()
    code = "from verifier.cli import main; main()"
    words = ["doctor", "--sandbox", setting.sandbox, "--format", "json", "--quiet"]
    become = {"user": setting.user_id, "group": setting.user_id, "extra_groups": []}
    result = subprocess.run(
        [*setting.within, sys.executable, "-c", code, *words],
        env={"PATH": os.environ["PATH"], "HOME": "/tmp"},
        cwd="/tmp",
        capture_output=True,
        text=True,
        **(become if is_root and setting.user_id is not None else {}),
    )
    if "Permission denied" in result.stderr:
        pytest.skip("the interpreter or the checkout lies where other users may not read")
    assert result.returncode in (0, 4), result.stderr
    return json.loads(result.stdout)[setting.sandbox]


@pytest.mark.parametrize("check", BY_NAME)
@pytest.mark.parametrize("name", SETTINGS)
def test_it_holds(name, check):
    answer = doctor(name)["checks"][check]
    if answer["outcome"] == "not_applicable":
        pytest.skip(answer["reason"])
    assert answer["outcome"] == "held" or check in SETTINGS[name].holes, answer["reason"]


def test_the_list_is_long_and_its_names_and_claims_are_its_own():
    assert len(BY_NAME) == len(CHECKS) >= 100
    assert len({check.claim for check in CHECKS}) == len(CHECKS)
    assert all(check.claim.endswith(".") for check in CHECKS)


def test_the_page_on_sandboxes_names_every_check():
    page = (Path(__file__).parents[3] / "docs" / "sandbox.md").read_text()
    named = re.findall(r"^\| `(\w+)` \|", page.partition("## Every check")[2], re.MULTILINE)
    assert named == list(BY_NAME)


def test_every_guarantee_of_bubblewrap_is_proved():
    grades = doctor("bubblewrap-root")["guarantees"]
    assert grades == {check.guarantee: "proved" for check in AT_START}


def test_landlock_promises_neither_network_nor_secrets():
    grades = doctor("landlock-user-without-namespaces")["guarantees"]
    assert (grades["network"], grades["secrets"]) == ("absent", "absent")
    assert grades["process_leaks"] == "proved" or OLD


def test_a_host_without_namespaces_is_told_so_and_runs_nothing(monkeypatch):
    monkeypatch.setitem(
        SETTINGS,
        "refused",
        Setting(sandbox="bubblewrap", user_id=USER_ID, within=NO_USER_NAMESPACES),
    )
    said = doctor("refused")
    assert "user namespaces" in said["unavailable"] and "--sandbox landlock" in said["unavailable"]
    assert said["checks"] == {}
