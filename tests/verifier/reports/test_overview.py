"""Many submissions at once: an order that helps, and a page that leads to each report."""

import io
import re

from click.testing import CliRunner
from evil_verdicts import EVIL, rule, verdict
from rich.console import Console

from verifier.cli import cli
from verifier.findings import Severity
from verifier.reports.console import print_overview
from verifier.reports.index_page import IndexRow, render_index
from verifier.schemas.run_record_json import ClaimedValues


def claiming(name: str, word: str, val_bpb: float | None):
    claims = ClaimedValues(val_bpb=val_bpb, val_bpb_std=None, bytes_total=None)
    note = rule("population_deviation", severity=Severity.INFO)
    return verdict(name, verdict=word, claims=claims, rules=(rule(), note))


MANY = (
    claiming("silent", "rejected", None),
    claiming("open", "inconclusive", 1.0),
    claiming("worse", "rejected", 1.2),
    claiming("better", "rejected", 1.1),
)


def test_the_gravest_come_first_and_among_them_the_best_claim():
    text = io.StringIO()
    print_overview(MANY, Console(file=text, width=100))
    names = re.findall(r"^ (?:rejected|inconclusive) +(\w+)", text.getvalue(), re.MULTILINE)
    assert names == ["better", "worse", "silent", "open"]
    assert "4 submissions: 3 rejected, 1 inconclusive, 0 accepted" in text.getvalue()
    assert re.search(rf"better +{MANY[0].track} +1.1", text.getvalue())
    assert "failed_run" in text.getvalue() and "population_deviation" not in text.getvalue()


def test_where_nothing_could_be_read_there_is_no_table():
    text = io.StringIO()
    print_overview([], Console(file=text, width=100))
    assert text.getvalue() == "0 submissions: 0 rejected, 0 inconclusive, 0 accepted\n"


def test_the_index_leads_to_every_report(tmp_path):
    folders = ["submissions/demo", "submissions/demo_baseline"]
    CliRunner().invoke(cli, ["check", *folders, "--out", str(tmp_path), "--format", "json"])
    page = (tmp_path / "index.html").read_text()
    links = re.findall(r'<a href="(.*?)"', page)
    assert page.count("<td>demo</td>") == 2
    assert len(links) == 2 and all((tmp_path / link).is_file() for link in links)


def test_a_strange_name_acts_nowhere_in_the_index():
    page = render_index([IndexRow(verdict=verdict(EVIL), folder="a b-1234")])
    assert 'href="a%20b-1234/report.html"' in page
    assert not re.search(r"<script|<img|\x1b", page)
