import json
import subprocess
import sys

import pytest

COMMAND = """
import sys
from trainer.data_cli import data
from trainer.errors import TrainerError
try:
    data(prog_name="pgolf-train data")
except TrainerError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def run(*arguments):
    command = [sys.executable, "-c", COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_demo_corpus_is_built_once_and_inspected(tmp_path):
    first = run("build", "--corpus", "jargon", "--out", tmp_path / "demo")
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith(f"built: {tmp_path / 'demo' / 'datasets' / 'jargon'}\n")
    assert run("build", "--corpus", "jargon", "--out", tmp_path / "demo").stdout.startswith(
        "already"
    )
    report = json.loads(run("inspect", tmp_path / "demo", "--format", "json").stdout)
    assert report["datasets"][0]["manifest"] == "agrees"


def test_own_documents_from_a_folder(tmp_path):
    notes = tmp_path / "notes"
    notes.mkdir()
    for number in range(20):
        (notes / f"{number:02}.txt").write_text(f"note number {number} about the lazy dog\n" * 20)
    (notes / "19.txt").write_text("NOTE number 0, about the lazy dog!\n" * 20)
    built = run("build", notes, "--val-docs", 2, "--vocab-size", 300, "--out", tmp_path / "out")
    assert "train      17 documents" in built.stdout
    assert "left out   0 training documents that validation holds too, and 1 that" in built.stdout
    inspected = run("inspect", tmp_path / "out")
    assert inspected.returncode == 0 and "| note number 0 about the lazy dog" in inspected.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["build", "--out", "o"], "nothing to build from"),
        (["build", "absent.jsonl", "--val-docs", "1", "--out", "o"], "no such file or folder"),
        (["build", __file__, "--out", "o"], "--val-docs N or --val SOURCE"),
        (["build", "--corpus", "x", "--out", "o"], "no such corpus"),
        (["build", "--corpus", "jargon", "--val-docs", "3", "--out", "o"], "give only --out"),
        (["build", __file__, "--val-docs", "1", "--name", "../x", "--out", "o"], "--name '../x'"),
        (["inspect", "absent"], "absent: no such folder"),
        (["get", "sp-1"], "no such variant"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(arguments, reason):
    result = run(*arguments)
    assert result.returncode == 2 and result.stdout == ""
    assert reason in result.stderr and result.stderr.count("\n") == 1


def test_problems_found_exit_2_after_the_report(tmp_path):
    run("build", "--corpus", "jargon", "--out", tmp_path)
    (tmp_path / "datasets" / "jargon" / "fineweb_train_000000.bin").unlink()
    result = run("inspect", tmp_path)
    assert result.returncode == 2 and "problems: 1; the first: fineweb_train" in result.stderr
    assert "PROBLEM    fineweb_train_000000.bin: missing" in result.stdout


@pytest.mark.parametrize("command", ["build", "get", "inspect"])
def test_help_has_an_example(command):
    assert f"\n    pgolf-train data {command}" in run(command, "--help").stdout
