"""The frozen command line: names, options, exit codes; a change here is a change of contract."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from verifier.cli import cli

COMMANDS = (
    "verify check run judge report compare records board rules doctor fetch init schema".split()
)
RUN_OPTIONS = (
    "--track --profile --seeds --num-seeds --against --rung --data --gpus --env --out --resume "
    "--format --quiet --verbose --no-color".split()
)
HEAVY = ("torch", "scipy", "numpy", "pydantic", "yaml", "rich")


def invoke(*arguments: str):
    return CliRunner().invoke(cli, list(arguments))


def test_commands_are_the_frozen_ones():
    assert list(cli.commands) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    assert cli.commands[command].help
    assert invoke(command, "--help").exit_code == 0


@pytest.mark.parametrize("command", ["verify", "run"])
def test_running_commands_take_the_common_options(command):
    names = {name for option in cli.commands[command].params for name in option.opts}
    assert set(RUN_OPTIONS) <= names


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom verifier.cli import cli\n"
        "CliRunner().invoke(cli, ['--help'])\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]"


def test_first_word_that_is_no_command_is_a_submission(tmp_path: Path):
    result = invoke(str(tmp_path / "nowhere"))
    assert result.exit_code == 2
    assert "no such file or folder" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "x", "--track", "nope"], "no track 'nope': there are 10min_16mb"),
        (["check", ".", "--profile", "nope"], "no profile 'nope': there are"),
        (["rules", "nope"], "no rule 'nope': 'pgolf-verify rules' lists them"),
        (["rules", "oversize_artifact"], "did you mean oversized_artifact"),
        (["compare", "pr1", "pr2"], "no such record"),
        (["compare", "--values", "1,x", "--values", "1,2"], "give numbers"),
        (["compare", "pr1855"], "takes two samples"),
        (["judge", "/nowhere"], "is /nowhere a run directory?"),
    ],
)
def test_mistakes_are_one_line_that_names_the_mend(arguments, message):
    result = invoke(*arguments)
    assert result.exit_code in (2, 4)
    assert message in result.output
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    ("place", "stated", "track"),
    [
        ("track_non_record_16mb/mine", "10min_16mb", "non_record_16mb"),
        ("mine", "non-record-16mb", "non_record_16mb"),
        ("mine", "demo", "demo"),
        ("mine", "elsewhere", "10min_16mb"),
    ],
)
def test_the_track_is_the_one_that_the_folder_belongs_to(tmp_path, place, stated, track):
    folder = tmp_path / place
    folder.mkdir(parents=True)
    (folder / "submission.json").write_text(json.dumps({"track": stated}))
    verdict = json.loads(invoke("check", str(folder), "--format", "json").stdout)
    assert verdict["track"] == track
    asked = invoke("check", str(folder), "--track", "demo", "--format", "json")
    assert json.loads(asked.stdout)["track"] == "demo"


def test_explaining_a_rule_answers_what_why_example_source():
    output = invoke("rules", "oversized_artifact").output
    for question in ("What:", "Why:", "Example:", "Source:"):
        assert question in output


def test_values_beside_a_name_are_the_challenger():
    lines = invoke("compare", "--values", "1.0,1.001,1.002", "pr1855").stdout.splitlines()
    assert lines[0].startswith("challenger values: 1.00000")
    assert lines[1].startswith("prior PR 1855: ")


def test_compare_tells_by_its_exit_code():
    better, same = "1.060,1.061,1.0605", "1.070,1.071,1.0705"
    assert invoke("compare", "--values", better, "--values", same).exit_code == 0
    assert invoke("compare", "--values", same, "--values", same).exit_code == 1
    assert invoke("compare", "--values", "1.06", "--values", same).exit_code == 3
