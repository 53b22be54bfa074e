"""The page: no script, no request, nothing of a stranger acts, and it stays small."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner
from evil_verdicts import EVIL, RIGHT_TO_LEFT, verdict

from verifier.cli import cli
from verifier.reports import page_template
from verifier.reports.html_page import render_html

CHROMIUM = shutil.which("chromium")
VOID = {"meta", "br", "img", "input", "link", "hr"}


class Reader(HTMLParser):
    """Tags, attributes and text of a page; refuses tags that do not close each other."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] != ["style"]:
            self.words.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert not reader._open
    return reader


@pytest.mark.parametrize("text", ["plain", EVIL, RIGHT_TO_LEFT])
def test_it_holds_no_script_and_asks_for_nothing(dossier, text):
    page = read(render_html(dossier(verdict(text))))
    assert not {"script", "img", "link", "iframe", "object", "form", "a"} & set(page.tags)
    names = {name for name, _ in page.attributes}
    assert not {n for n in names if n.startswith("on")} | names & {"src", "href", "style"}


def test_what_a_stranger_wrote_is_shown_as_he_wrote_it(dossier):
    words = " ".join(read(render_html(dossier(verdict()))).words)
    assert "<script>alert(1)</script>" in words and "{{7*7}}" in words
    assert "\\x1b[2J" in words and "\\u202e" in words


def test_the_policy_allows_our_style_alone(dossier):
    page = render_html(dossier(verdict("x")))
    style = re.search("<style>(.*?)</style>", page, re.DOTALL)[1]
    policy = re.search('Content-Security-Policy" content="(.*?)"', page)[1]
    hashed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src &#39;none&#39;; style-src &#39;sha256-{hashed}&#39;" in policy.replace(
        "'", "&#39;"
    )
    assert "http" not in style and "url(" not in style


@pytest.mark.parametrize("text", ["x", EVIL, RIGHT_TO_LEFT * 20])
def test_ten_thousand_findings_stay_under_a_megabyte(dossier, text):
    page = render_html(dossier(verdict(text, 10_000)))
    assert len(page.encode()) < 1_000_000
    assert page.count("more in verdict.json") == 3


def test_a_verdict_is_told_in_its_first_words(dossier):
    words = [w.strip() for w in read(render_html(dossier(verdict("x")))).words if w.strip()]
    assert words[:2] == ["rejected: x", "x"]
    assert words[3:5] == ["REJECTED", "broken: failed_run"]


@pytest.mark.parametrize(("rung", "whose"), [("rerun", ""), ("rehearsal", " of full runs")])
def test_a_small_run_is_not_held_against_a_budget_of_full_runs(dossier, rung, whose):
    page = render_html(dossier(verdict("x", rung=rung)))
    assert re.findall(r"up to 30\b[^<]*", page) == [f"up to 30{whose}"]


@pytest.mark.skipif(CHROMIUM is None, reason="no browser here")
def test_no_request_leaves_the_page_in_a_browser(dossier, tmp_path):
    page = tmp_path / "report.html"
    page.write_text(render_html(dossier(verdict())), encoding="utf-8")
    log = tmp_path / "net.json"
    words = "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-quic"
    words += " --no-first-run --disable-component-update --disable-sync --dump-dom"
    command = [CHROMIUM, *words.split(), f"--user-data-dir={tmp_path}/profile"]
    done = subprocess.run(
        [*command, f"--log-net-log={log}", page.as_uri()], capture_output=True, text=True
    )
    assert "REJECTED" in done.stdout
    assert "evil.example" in page.read_text()
    assert "https://evil.example" not in "".join(re.findall(r'"url":"[^"]*"', log.read_text()))


def test_the_page_of_a_run_says_what_it_rests_on(pgolf, make_submission, tmp_path):
    result = pgolf("verify", make_submission(), "--num-seeds", "2")
    assert result.exit_code in (0, 3), result.stderr
    page = (tmp_path / "out/report.html").read_text()
    said = " ".join(read(page).words)
    plan = json.loads((tmp_path / "out/plan.json").read_text())
    for word in ("assigned by the hash", str(plan["seeds"][0]), "Seed by seed", "network"):
        assert word in said
    assert "planned under others" not in said
    assert (tmp_path / "out/plots/seeds.png").read_bytes().startswith(b"\x89PNG")


def luminance(color: str) -> float:
    """Of sRGB as #rrggbb, relative to white (WCAG 2.2)."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_text_stands_out_in_light_in_dark_and_on_paper():
    style = Path(page_template.__file__).with_name("page.css").read_text()
    themes = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert len(themes) == 3
    for theme in themes:
        colors = dict(re.findall(r"--(\w+): (#\w{6})", theme))
        for text in ("ink", "muted", "good", "warn", "limit", "ours"):
            for ground in ("paper", "card"):
                dark, light = sorted((luminance(colors[text]), luminance(colors[ground])))
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


def test_a_page_drawn_from_a_run_alone_makes_up_no_path(pgolf, make_submission, tmp_path):
    pgolf("verify", make_submission(), "--num-seeds", "1")
    CliRunner().invoke(cli, ["report", str(tmp_path / "out")])
    page = (tmp_path / "out/report.html").read_text()
    assert "pgolf-verify SUBMISSION --track tiny" in page and "--num-seeds 1" in page
