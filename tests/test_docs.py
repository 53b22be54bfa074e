"""Generated pages are fresh, and every command stands in the README."""

import json
import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from trainer.cli import cli as train_cli
from verifier.cli import cli as verify_cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def verify(*arguments: str) -> str:
    return CliRunner().invoke(verify_cli, list(arguments)).stdout


def test_rules_page_is_fresh():
    assert (ROOT / "rules/README.md").read_text() == verify("rules", "--format", "markdown")


def test_verdict_schema_is_fresh():
    assert json.loads((ROOT / "docs/verdict.schema.json").read_text()) == json.loads(
        verify("schema")
    )


def test_readme_names_the_two_commands():
    assert "`make demo`" in README and "`make test`" in README


def test_readme_names_every_command():
    for name in verify_cli.commands:
        if name not in ("verify",):
            assert re.search(rf"pgolf-verify {name}\b", README), name
    for name in train_cli.commands:
        if name not in ("train",):
            assert re.search(rf"pgolf-train {name}\b", README), name


@pytest.mark.parametrize("line", re.findall(r"^pgolf-(?:verify|train) .*$", README, re.MULTILINE))
def test_every_command_of_the_readme_is_understood(line):
    program, *words = shlex.split(line, comments=True)
    command: click.Command = {"pgolf-verify": verify_cli, "pgolf-train": train_cli}[program]
    if command is verify_cli and words[0] not in verify_cli.commands:
        words = ["verify", *words]
    while isinstance(command, click.Group):
        program, command, words = command.resolve_command(click.Context(command), words)
    command.make_context(program, words)


def test_readme_tree_matches_the_folders():
    tree = README.split("## What lies where")[1].split("```")[1]
    named = {line.split()[0].rstrip("/") for line in tree.strip().splitlines() if line[0] != " "}
    shown = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".")}
    assert named & {"verifier", "trainer", "rules", "submissions", "tests"}
    assert shown - {"data", "runs", "build", "pgolf.egg-info"} == {
        n for n in named if (ROOT / n).is_dir()
    }
