"""Every cheat ends as it must, and no accepted run has a score that an honest one would not have.

A folder of `cheats/` holds what differs from the honest submission, `control_honest`; the head of
its script says what it tries, `expected.yaml` how that must end: `verdict` (`refused` where it is
not run at all), `shows` (a text of the report), and `trial` where not the full run with ample time
decides: `floor`, or `hurried` for a cheat that tries to win time.
"""

import functools
import re
import shutil
import sys
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import psutil
import pytest
import yaml
from cheat_trial import CHEATS, enter_court, honest_bpb, open_court, put_on_trial
from click.testing import CliRunner

from verifier.cli import cli
from verifier.findings import Outcome
from verifier.schemas.verdict_json import VerdictFile

NAMES = sorted(path.name for path in CHEATS.iterdir())
EXPECTED = {name: yaml.safe_load((CHEATS / name / "expected.yaml").read_text()) for name in NAMES}


@pytest.fixture(scope="module")
def court(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("court")
    open_court(folder)
    return folder


@pytest.fixture(scope="module")
def trials(court: Path, request) -> dict[str, Future[VerdictFile | str]]:
    """The trials that this run of pytest asks for, two at a time."""
    asked = {
        item.callspec.params.get("cheat")
        for item in request.session.items
        if hasattr(item, "callspec")
    }
    with ProcessPoolExecutor(2, initializer=enter_court, initargs=(court,)) as pool:
        yield {
            name: pool.submit(
                put_on_trial, name, court, court / name, EXPECTED[name].get("trial", "rerun")
            )
            for name in NAMES
            if name in asked
        }


def report(verdict: VerdictFile | str) -> str:
    """The verdict's reason, and all that was found or could not be told."""
    if isinstance(verdict, str):
        return verdict
    lines = [verdict.because]
    for rule in verdict.rules:
        if rule.outcome is not Outcome.PASSED:
            lines += [rule.rule, rule.reason or "", *(f.message for f in rule.findings)]
    return "\n".join(lines)


def is_honest(verdict: VerdictFile, court: Path) -> bool:
    """Whether every score is the one that an honest run of the same seed has."""
    scores = {m.seed: m.val_bpb for m in verdict.measurements}
    return scores == {s: pytest.approx(honest_bpb(s, court), rel=1e-6) for s in scores}


def command_lines() -> list[list[str]]:
    """What runs on this machine."""
    return [p.info["cmdline"] for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"]]


@pytest.mark.parametrize("cheat", NAMES)
def test_a_cheat_ends_as_it_must(cheat, trials, court):
    verdict, expected = trials[cheat].result(), EXPECTED[cheat]
    decision = "refused" if isinstance(verdict, str) else verdict.verdict
    if "cores busy while it ran out of time" in report(verdict):  # where a wall shows nothing
        expected = {"verdict": expected["on_a_crowded_machine"]}
    assert decision == expected["verdict"], report(verdict)
    assert expected.get("shows", "") in report(verdict)
    assert decision != "accepted" or is_honest(verdict, court)
    # A cheat that detaches a process names it for itself.
    assert cheat not in [argv[0] for argv in command_lines()]


def test_the_honest_control_is_above_the_floor_on_which_cheats_are_caught(court, tmp_path):
    with ProcessPoolExecutor(1, initializer=enter_court, initargs=(court,)) as pool:
        trial = pool.submit(put_on_trial, "control_honest", court, tmp_path / "trial", "floor")
    assert trial.result().verdict == "inconclusive", report(trial.result())
    assert trial.result().floor.gap_nats > 0


def test_there_are_many_cheats_and_both_controls():
    assert len(NAMES) >= 50
    assert EXPECTED["control_honest"] == {"verdict": "accepted"}
    assert EXPECTED["control_broken"]["verdict"] == "rejected"


@pytest.mark.parametrize("name", NAMES)
def test_a_cheat_says_what_it_tries(name):
    head = (CHEATS / name / "train_gpt.py").read_text()
    assert re.match(r"# Strategy: .+\n# Surface: .+\.\n# Severity: \w+\.\n", head)


def swap_once_a_seed_runs(submission: Path, out: Path, go: Path) -> None:
    """The accomplice outside the sandbox, who waits until the folder was read and delivered."""
    while not list(out.glob("seed_*/stdout.log")):
        time.sleep(0.01)
    (submission / "bigram.py").write_text("print('another script')")
    go.touch()


WAITS_FOR_THE_SWAP = """
import bigram, os, pathlib, time
while not pathlib.Path(os.environ["DATA_PATH"], "go").exists(): time.sleep(0.01)
bigram.main()
"""


def test_a_folder_that_changes_between_seeds_stops_the_run(court, tmp_path, monkeypatch):
    submission, out = tmp_path / "submission", tmp_path / "out"
    shutil.copytree(CHEATS / "control_honest", submission)
    (submission / "train_gpt.py").write_text(WAITS_FOR_THE_SWAP)
    shutil.copytree(court / "data", tmp_path / "data")
    go = tmp_path / "data" / "datasets" / "tiny_sp64" / "go"
    monkeypatch.delitem(sys.modules, "rules", raising=False)
    monkeypatch.syspath_prepend(court / "site")
    swap = functools.partial(swap_once_a_seed_runs, submission, out, go)
    accomplice = threading.Thread(target=swap, daemon=True)
    accomplice.start()
    words = ["verify", str(submission), "--track", "cheats", "--data", str(tmp_path / "data")]
    result = CliRunner().invoke(cli, [*words, "--out", str(out)])
    accomplice.join()
    assert result.exit_code == 4
    assert "changed while it was being read" in result.stderr
