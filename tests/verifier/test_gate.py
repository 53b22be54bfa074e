"""The gate, run for real: the action's own steps in a throw-away repository."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from verifier.runs.journal import write_record
from verifier.schemas.verdict_json import VerdictFile

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
ODD_NAME = "it's a ::error:: $(touch pwned) name\nof two lines"
INSTALL = "Install pgolf-verify"


def git(repository: Path, *words: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", repository, *who, *words], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit; what a test adds is the pull request."""
    folder = tmp_path / "repository"
    shutil.copytree(ROOT / "submissions/demo_baseline", folder / "submissions/old")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "base")
    return folder


def propose(repository: Path, name: str, *, broken: bool = False) -> Path:
    """Commit a submission; a broken one has no README and one log."""
    folder = repository / "submissions" / name
    shutil.copytree(ROOT / "submissions/demo", folder)
    if broken:
        for file in ("README.md", "train_seed42.log", "train_seed314.log"):
            (folder / file).unlink()
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "proposed")
    return folder


class Runner:
    """Executes the `run:` steps of the composite action as GitHub would."""

    def __init__(self, repository: Path, temp: Path) -> None:
        self.repository, self.temp = repository, temp
        self.summary, self.printed = temp / "summary", ""
        self.outputs: dict[str, str] = {}
        (temp / "pgolf").symlink_to(sys.prefix)

    @property
    def reports(self) -> Path:
        return Path(self.outputs["reports"])

    def run(self, **inputs: str) -> int:
        code = 0
        for step in ACTION["runs"]["steps"]:
            if step["name"] != INSTALL and code == 0:
                code = self.step(step, inputs)
        return code

    def step(self, step: dict, inputs: dict[str, str]) -> int:
        output = self.temp / "output"
        output.write_text("")
        self.summary.touch()
        environment = {k: self._value(v, inputs) for k, v in step["env"].items()}
        environment |= {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(self.summary)}
        environment |= {"RUNNER_TEMP": str(self.temp), "PATH": os.environ["PATH"]}
        environment |= {"PYTHONPATH": str(ROOT)}
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        done = subprocess.run(
            command, cwd=self.repository, env=environment, capture_output=True, text=True
        )
        self.printed += done.stdout
        lines = output.read_text().splitlines()
        self.outputs |= dict(line.split("=", 1) for line in lines)
        return done.returncode

    def _value(self, text: str, inputs: dict[str, str]) -> str:
        if not (named := re.fullmatch(r"\$\{\{ (\w+)\.(.*?\.)?([\w-]+) \}\}", text)):
            return text
        kind, _, name = named.groups()
        if kind == "steps":
            return self.outputs[name]
        return inputs.get(name, ACTION["inputs"].get(name, {}).get("default", ""))


@pytest.fixture
def runner(repository: Path, tmp_path: Path) -> Runner:
    temp = tmp_path / "temp"
    temp.mkdir()
    return Runner(repository, temp)


def test_no_step_pastes_an_expression_into_a_shell():
    runs = [step["run"] for step in ACTION["runs"]["steps"]]
    for path in WORKFLOWS:
        jobs = yaml.safe_load(path.read_text())["jobs"].values()
        runs += [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    assert len(runs) >= 8
    assert not [run for run in runs if "${{" in run]


def test_actions_of_others_are_pinned_and_only_a_job_may_write():
    used = []
    for path in WORKFLOWS:
        workflow = yaml.safe_load(path.read_text())
        assert "write" not in workflow["permissions"].values()
        used += [s["uses"] for j in workflow["jobs"].values() for s in j["steps"] if "uses" in s]
    assert len(used) >= 8
    assert all(re.search(r"@[0-9a-f]{40}$", name) for name in used if not name.startswith("./"))


def test_a_good_submission_passes_and_is_told(repository, runner):
    propose(repository, "mine")
    assert runner.run() == 0
    assert runner.outputs["exit-code"] == "0"
    verdict = json.loads((runner.reports / "verdict.json").read_text())
    assert verdict["submission"] == "mine"
    assert "INCONCLUSIVE" in runner.summary.read_text()
    assert runner.printed.count("::error") == 0


def test_a_broken_submission_fails_with_annotations_on_its_files(repository, runner):
    propose(repository, "mine", broken=True)
    assert runner.run() == 1
    errors = [line for line in runner.printed.splitlines() if line.startswith("::error ")]
    assert errors and all("title=" in line for line in errors)
    sarif = json.loads((runner.reports / "report.sarif").read_text())
    places = json.dumps(sarif["runs"][0]["results"])
    assert "submissions/mine/submission.json" in places


def test_a_submission_that_cannot_be_read_is_an_error_that_is_seen(repository, runner):
    (repository / "submissions/linked").symlink_to("old")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "a link")
    assert runner.run() == 2
    assert "::error title=pgolf-verify::A submission cannot be read" in runner.printed


def test_only_what_changed_is_checked(repository, runner):
    propose(repository, "one")
    propose(repository, "two", broken=True)
    assert runner.run() == 1
    assert "\none ·" not in runner.summary.read_text()
    assert runner.run(base="HEAD^1^1") == 1
    assert len(list(runner.reports.glob("*/verdict.json"))) == 2


def test_a_pull_request_without_submissions_passes(repository, runner):
    (repository / "notes.md").write_text("hello")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "notes")
    assert runner.run() == 0
    assert runner.summary.read_text() == ""


def test_an_odd_name_acts_nowhere(repository, runner):
    propose(repository, ODD_NAME, broken=True)
    assert runner.run() == 1
    assert not list(repository.rglob("pwned"))
    commands = [line for line in runner.printed.splitlines() if line.startswith("::")]
    assert len(commands) == len(runner.printed.splitlines())
    assert not [line for line in commands if line.startswith("::error::")]


def test_no_module_of_the_pull_request_is_imported(repository, runner, tmp_path, monkeypatch):
    for name in ("venv", "logging", "sitecustomize", "verifier", "rules"):
        (repository / f"{name}.py").write_text(f"open('{tmp_path}/pwned', 'w')")
    (tmp_path / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@" --without-pip\n')
    (tmp_path / "python3").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (runner.temp / "pgolf").unlink()
    [install] = [step for step in ACTION["runs"]["steps"] if step["name"] == INSTALL]
    assert runner.step(install, {}) != 0  # for want of pip, which takes seconds to install
    assert (runner.temp / "pgolf/bin/python3").exists()
    assert not (tmp_path / "pwned").exists()


def test_reports_that_a_pull_request_brings_are_not_passed_on(repository, runner):
    forged = repository / "pgolf-reports"
    forged.mkdir()
    (forged / "summary.md").write_text("ACCEPTED, says the pull request")
    assert runner.run(reports="pgolf-reports") == 2
    assert runner.run(base="HEAD") == 0
    assert runner.summary.read_text() == ""
    assert not list(runner.reports.iterdir())


def test_where_it_came_from_is_not_taken_from_the_pull_request(repository, runner):
    folder = propose(repository, "mine")
    note = {"remote": "https://github.com/a/b", "ref": "x", "commit": "0" * 40, "path": "c"}
    folder.with_name("mine.source.json").write_text(json.dumps(note))
    assert runner.run() == 0
    verdict = json.loads((runner.reports / "verdict.json").read_text())
    assert verdict["commit"] is None
    assert "github.com/a/b" not in runner.summary.read_text()


def test_the_gate_can_hold_everybody_to_its_own_track(repository, runner):
    propose(repository, "mine")
    assert runner.run(track="10min_16mb") == 1
    assert json.loads((runner.reports / "verdict.json").read_text())["track"] == "10min_16mb"


def test_fail_on_inconclusive_is_stricter(repository, runner):
    propose(repository, "mine")
    assert runner.run(**{"fail-on": "inconclusive"}) == 3


GH = """#!/usr/bin/env python3
import json, sys
print(*{"pulls": ["7"], "comments": []}.get(sys.argv[2].split("/")[-1].split("?")[0], []))
body = [w for w in sys.argv if w.startswith("body=@")]
json.dump([sys.argv[1:], [open(w[6:]).read() for w in body]], open("%s", "a"))
open("%s", "a").write("\\n")
"""


@pytest.fixture
def gh(tmp_path: Path, monkeypatch) -> Path:
    """GitHub's own command, which cannot work here: writes down what it is told."""
    told = tmp_path / "told"
    program = tmp_path / "bin" / "gh"
    program.parent.mkdir()
    program.write_text(GH % (told, told))
    program.chmod(0o755)
    path = f"{program.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    given = {"REPOSITORY": "o/r", "HEAD_SHA": "abc", "RUN_URL": "http://run"}
    given |= {"HEAD_OWNER": "forker", "HEAD_BRANCH": "it's $(touch pwned)"}
    for name, value in (given | {"PYTHONPATH": str(ROOT)}).items():
        monkeypatch.setenv(name, value)
    return told


def comment(reports: Path) -> subprocess.CompletedProcess[str]:
    command = ["bash", ROOT / ".github/post_comment.sh", reports]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_comment_is_rendered_anew_from_the_verdict_alone(repository, runner, gh):
    propose(repository, "mine", broken=True)
    runner.run()
    (runner.reports / "summary.md").write_text("@everyone a stranger's words")
    done = comment(runner.reports)
    assert "told on pull request 7" in done.stdout, done.stderr
    *_, (words, [body]) = map(json.loads, gh.read_text().splitlines())
    assert words[1:4] == ["--method", "POST", "repos/o/r/issues/7/comments"]
    assert "REJECTED" in body and "a stranger's words" not in body


def test_the_pull_request_of_a_fork_is_found_by_its_branch(repository, runner, gh):
    propose(repository, "mine", broken=True)
    runner.run()
    comment(runner.reports)
    asked, _ = json.loads(gh.read_text().splitlines()[0])
    assert asked[1] == "repos/o/r/pulls" and "head=forker:it's $(touch pwned)" in asked
    assert 'select(.head.sha == "abc")' in asked[-1]


def test_no_reports_are_no_failure(tmp_path, gh):
    done = comment(tmp_path / "reports")
    assert (done.returncode, done.stdout) == (0, "no verdict to tell\n")


def test_a_forged_acceptance_is_not_told(repository, runner, gh):
    propose(repository, "mine")
    runner.run()
    verdict = VerdictFile.model_validate_json((runner.reports / "verdict.json").read_bytes())
    forged = verdict.model_copy(update={"verdict": "accepted", "rung": "rerun"})
    write_record(runner.reports / "verdict.json", forged)
    assert "no verdict to tell" in comment(runner.reports).stdout


def test_a_forged_verdict_is_not_told(tmp_path, gh):
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/verdict.json").write_text('{"verdict": "accepted"}')
    assert "no verdict to tell" in comment(tmp_path / "reports").stdout
    assert not gh.exists()


FULL_RUN = yaml.safe_load((ROOT / ".github/workflows/full-run.yml").read_text())


def fetched(remote: Path, commit: str, where: Path) -> subprocess.CompletedProcess[str]:
    """The full run's step that holds the head against the commit that was looked at."""
    steps = FULL_RUN["jobs"]["run"]["steps"]
    [step] = [s for s in steps if s.get("name") == "Fetch exactly what was looked at"]
    where.mkdir()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {"NUMBER": "7", "COMMIT": commit, "REMOTE": str(remote), "PATH": path}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(
        command, cwd=where, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True
    )


def test_a_full_run_takes_the_commit_that_was_looked_at_and_no_folder_called_so(
    repository, tmp_path
):
    git(repository, "checkout", "-q", "-b", "work")
    looked_at = "a" * 40
    (propose(repository, "mine")).rename(repository / looked_at)
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "--amend", "-m", "another one")
    git(repository, "update-ref", "refs/pull/7/head", "work")
    git(repository, "checkout", "-q", "main")
    refused = fetched(repository, looked_at, tmp_path / "once")
    assert refused.returncode == 1 and b"look at that one first" in refused.stderr
    commit = (repository / ".git/refs/heads/work").read_text().strip()
    assert fetched(repository, commit, tmp_path / "again").returncode == 0
