"""Reports: the same verdict in four forms, and nothing that a stranger wrote acts in any."""

import datetime
import html
import io
import json
import re
import unicodedata
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from verifier.cli import cli
from verifier.findings import Outcome, Severity
from verifier.reports.console import print_verdict
from verifier.reports.foreign_text import github_command, markdown, visible
from verifier.reports.github import MAX_ANNOTATIONS, render_github
from verifier.reports.markdown import render_markdown
from verifier.reports.verdict_file import render_json
from verifier.runs.journal import write_record
from verifier.schemas.rule_record_json import FindingRecord, RuleRecord
from verifier.schemas.run_record_json import ClaimedValues
from verifier.schemas.verdict_json import VerdictFile

EVIL = (
    "\x1b[2J\x1b]0;t\x07\r\b\x9b\u202e\u2066<img src=x onerror=alert(1)><!-- [a](javascript:x)"
    " ![i](u) @everyone #1 `code` **bold** | cell\n\n# heading\n::error::gotcha\n%0A::x\x00\u2028"
)
FORMATS = ("text", "json", "markdown", "github", "sarif", "junit", "html")


def verdict(foreign: str = EVIL, num_findings: int = 1) -> VerdictFile:
    """A rejection in which every foreign field is `foreign`."""
    finding = FindingRecord(message=foreign, file=foreign, line=3, evidence=foreign)
    rule = RuleRecord(
        rule="failed_run",
        title="The script does not complete",
        since=datetime.date(2026, 3, 18),
        source="README",
        outcome=Outcome.BROKEN,
        severity=Severity.REJECT,
        violation_class="other",
        condition="evidence",
        findings=(finding,) * num_findings,
    )
    return VerdictFile(
        submission=foreign,
        commit=foreign,
        submission_sha256="0" * 64,
        track="demo",
        profile="readme-strict",
        rung="rerun",
        verdict="rejected",
        because="broken: failed_run",
        next_command=foreign,
        rules=(rule,),
        claims=ClaimedValues(val_bpb=1.0, val_bpb_std=None, bytes_total=None),
        unread=(foreign,),
    )


def acting(text: str) -> set[str]:
    """Characters that do something to whoever shows the text."""
    return {
        c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    }


@pytest.fixture
def rendered(tmp_path: Path):
    """Each form of the evil verdict, from `pgolf-verify report` on its file."""
    write_record(tmp_path / "verdict.json", verdict())

    def render(format_: str) -> str:
        result = CliRunner().invoke(cli, ["report", str(tmp_path), "--format", format_])
        assert result.exit_code == 0, result.stderr
        return result.stdout

    return render


@pytest.mark.parametrize("format_", FORMATS)
def test_no_form_holds_an_acting_character(rendered, format_):
    assert acting(rendered(format_)) == set()


def test_written_reports_hold_no_acting_character(rendered, tmp_path):
    rendered("text")
    names = "report.md report.txt report.html report.sarif report.junit.xml summary.md verdict.json"
    for name in names.split():
        assert acting((tmp_path / name).read_text()) == set(), name


def test_markdown_of_a_stranger_shows_as_text():
    text = render_markdown(verdict())
    body = re.sub(r"\\.", "", text)  # what a backslash precedes is text
    body = re.sub(
        r"`[^`\n]*`|</?(details|summary)>", "", body
    )  # code is text too; the tags are ours
    assert not re.search(r"[<>\[\]]|@\w|\*\*|!\(|^# ", body, re.MULTILINE)
    assert "javascript" in text


def test_a_table_row_stays_one_row():
    rows = [line for line in render_markdown(verdict()).splitlines() if line.startswith("| BROKEN")]
    [row] = rows
    assert len(re.findall(r"(?<!\\)\|", row)) == 4


def test_github_commands_are_ours_alone():
    lines = render_github(verdict()).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["::error", "::notice"]
    assert "%0A" not in lines[0].replace("%250A", "")


def test_many_findings_leave_room_for_the_verdict():
    lines = render_github(verdict("x", num_findings=50)).splitlines()
    assert len(lines) == MAX_ANNOTATIONS + 1
    assert lines[-1].endswith("(41 more findings in the report)")


def test_json_is_one_line_that_gives_the_verdict_back():
    text = render_json(verdict())
    assert text.count("\n") == 1
    assert VerdictFile.model_validate_json(text) == verdict()


def schema() -> dict:
    return json.loads(CliRunner().invoke(cli, ["schema"]).stdout)


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema_version": 1}, schema())


def test_a_check_validates_against_the_schema(pgolf, make_submission):
    result = pgolf("check", make_submission(), "--format", "json")
    jsonschema.validate(json.loads(result.stdout), schema())


def test_judge_and_report_give_the_same_verdict_from_disk(pgolf, make_submission, tmp_path):
    options = ("--num-seeds", "3", "--profile", "leaderboard-apr29", "--format", "json")
    first = pgolf("verify", make_submission(), *options)
    assert first.exit_code == 0, first.stderr
    out = tmp_path / "out"
    jsonschema.validate(json.loads(first.stdout), schema())
    assert json.loads((out / "verdict.json").read_text()) == json.loads(first.stdout)
    for verb in ("judge", "report"):
        again = pgolf(verb, out, "--format", "json")
        assert (again.exit_code, again.stdout) == (0, first.stdout)


def test_another_profile_leaves_the_reports_as_they_are(pgolf, make_submission, tmp_path):
    pgolf("verify", make_submission(), "--num-seeds", "2")
    before = (tmp_path / "out" / "verdict.json").read_bytes()
    other = pgolf("judge", tmp_path / "out", "--profile", "leaderboard-apr29", "--format", "json")
    assert json.loads(other.stdout)["profile"] == "leaderboard-apr29"
    assert (tmp_path / "out" / "verdict.json").read_bytes() == before


@pytest.mark.parametrize("verb", ["judge", "report"])
@pytest.mark.parametrize("content", [None, "", "{}", "[" * 100_000])
def test_a_folder_without_evidence_is_one_line(tmp_path, verb, content):
    for name in ("evidence.json", "verdict.json") if content is not None else ():
        (tmp_path / name).write_text(content)
    result = CliRunner().invoke(cli, [verb, str(tmp_path)])
    assert result.exit_code == 4
    assert result.stderr.count("\n") == 1


@given(st.text())
def test_visible_text_is_one_short_line_of_plain_characters(text):
    shown = visible(text)
    assert acting(shown) == set() and "\n" not in shown
    assert visible(shown) == shown


@given(st.text(alphabet="ab 1_-./", max_size=100))
def test_harmless_text_is_not_changed(text):
    assert visible(text) == text


@given(st.text("ab1 @#`*_[]()<>&!|~\\$:/.-gh\n", max_size=60))
@example("@everyone, owner/name#12, GH-3, https://a.b/pull/4, www.a.b, a@b.c")
def test_markdown_shows_the_text_and_github_links_nothing_in_it(text):
    page = MarkdownIt("commonmark").render(f"x {markdown(text)} x")
    seen = html.unescape(re.sub(r"<.*?>", "", page)).strip()
    assert seen.replace("\u200b", "") == f"x {visible(text)} x"
    assert not re.search(r"@\w|#\d|gh-\d|\w://|www\.", seen, re.IGNORECASE)


def test_a_jobs_log_obeys_no_stranger(tmp_path):
    name = tmp_path / "##[add-mask]e ::stop-commands::x"
    result = CliRunner().invoke(cli, ["check", str(name)])
    assert "no such file" in result.stderr
    assert "##[" not in result.stderr and " ::" not in result.stderr
    assert visible("a[::2] std::x ## [1]") == "a[::2] std::x ## [1]"


@given(st.text(max_size=200))
def test_a_github_command_never_ends_early(text):
    assert not set(github_command(text)) & set("\r\n")


def test_no_figure_of_a_seed_is_cut_on_any_terminal(pgolf, make_submission, tmp_path):
    pgolf("verify", make_submission(), "--num-seeds", "1")
    verdict = VerdictFile.model_validate_json((tmp_path / "out/verdict.json").read_bytes())
    [seed] = verdict.measurements
    for width in (50, 60, 80, 140):
        text = io.StringIO()
        print_verdict(verdict, Console(file=text, width=width))
        [row] = [line for line in text.getvalue().splitlines() if f" {seed.seed} " in line]
        assert f"{seed.val_bpb:.5f}" in row and f"{seed.artifact_bytes:,}" in row
        assert ("wall" in text.getvalue()) == (f" {seed.wall_seconds:.1f} " in row)
        assert ("peak" in text.getvalue()) == (width == 140)


def test_the_answer_is_the_first_word_after_the_name_and_the_last_line():
    text = io.StringIO()
    print_verdict(verdict("mine"), Console(file=text, width=100))
    first, *_, last, decided = text.getvalue().splitlines()
    assert first.startswith("mine  REJECTED  demo")
    assert last == "REJECTED: broken: failed_run" and decided.startswith("to decide it")
