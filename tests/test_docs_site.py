"""The site builds from what is here, without a warning, and asks nobody for anything."""

import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

from verifier.rulebook import load_rules

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def words(page: Path) -> str:
    text = unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))
    return re.sub(r"\W+", " ", text)


def test_every_rule_has_a_page_with_its_own_words(site):
    rules = load_rules()
    assert len(rules) > 40
    for rule in rules.values():
        page = words(site / "rules" / f"{rule.id}.html")
        for text in (rule.title, rule.what, rule.why, rule.example):
            assert re.sub(r"\W+", " ", text).strip() in page, rule.id


def test_the_page_of_the_command_line_holds_every_option(site):
    from trainer.cli import cli as train
    from verifier.cli import cli as verify

    page = words(site / "command_line.html")
    options = [p for group in (verify, train) for c in group.commands.values() for p in c.params]
    assert len(options) > 80
    for name in {name for option in options for name in option.opts if name.startswith("--")}:
        assert re.sub(r"\W+", " ", name).strip() in page, name
    assert "pgolf train data build" in page


def test_no_page_asks_another_host(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 50
    for page in pages:
        text = page.read_text(encoding="utf-8")
        asked = re.findall(r'(?:src|<link[^>]* href)="(https?://[^"]*)"', text)
        assert not asked, page.name


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda p: p.name)
def test_commands_in_the_pages_exist(page):
    from verifier.cli import cli

    text = page.read_text(encoding="utf-8")
    for line in re.findall(r"^pgolf-verify ([a-z]+)\b(.*)$", text, re.MULTILINE):
        assert line[0] in cli.commands, line
        known = {name for option in cli.commands[line[0]].params for name in option.opts}
        assert set(re.findall(r"(?<= )--[a-z-]+", line[1].split("#")[0])) <= known, line
