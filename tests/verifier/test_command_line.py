"""The frozen command line: names, options, exit codes; a change here is a change of contract."""

import errno
import json
import os
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


def test_no_line_of_the_list_of_commands_is_cut():
    assert "..." not in invoke("--help").stdout.partition("Commands:")[2]


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
        (["check", "/"], "/: holds more than"),
        (["check", "README.md"], "README.md: neither a folder nor a training script (.py)"),
    ],
)
def test_mistakes_are_one_line_that_names_the_mend(arguments, message):
    result = invoke(*arguments)
    assert result.exit_code in (2, 4)
    assert message in result.output
    assert result.output.count("\n") == 1


@pytest.mark.parametrize("words", [("chekc", "submissions/1"), ("recrods",), ("docter", "-q")])
def test_a_misspelt_command_is_answered_with_the_one_that_was_meant(words):
    result = invoke(*words)
    assert result.exit_code == 2
    assert f"no command and no submission '{words[0]}'; did you mean" in result.output


def completed(program: str, words: str) -> list[str]:
    """What a shell is offered for the last of some words."""
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    asked = {variable: "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    path = Path(sys.executable).with_name(program)
    ran = subprocess.run([path], env=os.environ | asked, capture_output=True, text=True)
    assert ran.stderr == ""
    return ran.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("pgolf-verify che", ["plain,check"]),
        ("pgolf-verify subm", ["file,subm"]),
        ("pgolf-verify check subm", ["file,subm"]),
        ("pgolf-verify rules oversized", ["plain,oversized_artifact"]),
        ("pgolf-verify submissions/demo --profile grace", ["plain,grace-may02"]),
        ("pgolf-verify chekc --prof", ["plain,--profile"]),
        ("pgolf-train basel", ["plain,baseline"]),
        ("pgolf-train plan basel", ["plain,baseline"]),
    ],
)
def test_a_shell_completes_commands_names_and_paths(words, offered):
    assert completed(words.split()[0], words) == offered


@pytest.mark.parametrize("verbose", [[], ["--verbose"]])
def test_a_fault_of_ours_is_never_told_as_a_verdict(monkeypatch, verbose):
    """A traceback ends with 1, which says `rejected`."""
    monkeypatch.setattr("verifier.commands.records.records", lambda options: [][0])
    result = invoke("records", *verbose)
    assert result.exit_code == 4
    assert "a fault of pgolf-verify itself, please report it: IndexError" in result.output
    assert ("Traceback" in result.output) == bool(verbose)


def test_a_reader_that_went_away_is_no_acceptance(make_submission):
    """`check … | head` under pipefail: what nobody read to its end was not accepted."""
    words = [sys.executable, "-m", "verifier", "check", str(make_submission()), "--format", "html"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize("words", [["rules"], ["--help"], ["check", "--help"], ["--version"]])
def test_a_table_or_a_help_that_nobody_reads_is_no_rejection(words):
    command = [sys.executable, "-m", "verifier", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_disk_that_refuses_is_named_in_one_line(monkeypatch, tmp_path):
    def write(self, data):
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", write)
    result = invoke("init", str(tmp_path / "mine"))
    assert result.exit_code == 2
    assert result.output.startswith(f"pgolf-verify: {tmp_path}")
    assert "No space left on device" in result.output
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(("command", "key"), [("rules", "id"), ("board", "record")])
def test_tables_are_to_be_had_as_json_a_row_a_line(command, key):
    rows = [json.loads(line) for line in invoke(command, "--format", "json").stdout.splitlines()]
    assert len(rows) > 20
    assert all(row[key] for row in rows)


@pytest.mark.parametrize("command", ["rules", "records", "board", "compare", "doctor"])
def test_a_form_that_a_command_cannot_write_is_refused(command):
    result = invoke(command, "--format", "sarif")
    assert result.exit_code == 2
    assert "'sarif' is not one of" in result.output


@pytest.mark.parametrize("width", [80, 100, 140])
def test_no_row_of_the_ledger_loses_a_figure_on_a_narrow_terminal(monkeypatch, width):
    monkeypatch.setattr("verifier.commands.options.RESULT_WIDTH", width)
    [row] = [r for r in invoke("records").stdout.splitlines() if "PR 1855" in r]
    assert row.split()[:8] == "PR 1855 * 2026-04-27 1.06108 0.00111 3 15,907,550".split()


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


@pytest.mark.parametrize(
    ("place", "stated", "track"),
    [
        ("records/track_non_record_16mb/a", "10min_16mb", "non_record_16mb"),
        ("attempts/a", "demo", "demo"),
    ],
)
def test_a_fetched_submission_keeps_the_track_of_its_pull_request(tmp_path, place, stated, track):
    folder = tmp_path / "1005"
    folder.mkdir()
    (folder / "submission.json").write_text(json.dumps({"track": stated}))
    source = {"remote": "r", "ref": "refs/pull/1005/head", "commit": "c", "path": place}
    (tmp_path / "1005.source.json").write_text(json.dumps(source))
    verdict = json.loads(invoke("check", str(folder), "--format", "json").stdout)
    assert verdict["track"] == track


def test_explaining_a_rule_answers_what_why_example_source():
    output = invoke("rules", "oversized_artifact").output
    for question in ("What:", "Why:", "Example:", "Source:"):
        assert question in output


@pytest.mark.parametrize("name", ["pr63", "PR63", "#63", "63"])
def test_the_margin_is_the_named_records_however_its_name_is_written(name):
    """In BPB; the tokens of the newest record are longer."""
    told = json.loads(invoke("compare", name, "pr1855", "--format", "json").stdout)
    assert told["margin_bpb"] == pytest.approx(0.00296, abs=1e-5)


def test_values_beside_a_name_are_the_challenger():
    lines = invoke("compare", "--values", "1.0,1.001,1.002", "pr1855").stdout.splitlines()
    assert lines[0].startswith("challenger values: 1.00000")
    assert lines[1].startswith("prior PR 1855: ")


def test_compare_tells_by_its_exit_code():
    better, same = "1.060,1.061,1.0605", "1.070,1.071,1.0705"
    assert invoke("compare", "--values", better, "--values", same).exit_code == 0
    assert invoke("compare", "--values", same, "--values", same).exit_code == 1
    assert invoke("compare", "--values", "1.06", "--values", same).exit_code == 3


@pytest.mark.parametrize(
    ("prior", "answer", "code"),
    [("1.2,1.21,1.205", "SIGNIFICANT", 0), ("1.06,1.061", "NOT SIGNIFICANT", 1)],
)
def test_a_comparison_ends_with_its_answer(prior, answer, code):
    result = invoke("compare", "--values", "1.06,1.061,1.062", "--values", prior)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (code, answer)


def test_a_comparison_that_cannot_be_made_asks_for_no_seeds():
    result = invoke("compare", "--values", "nan,1", "--values", "1,2")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (3, "NOT COMPUTABLE")
    assert "80 % power" not in result.stdout
