"""A finding's place is one click away, where it is known where the submission came from."""

import json
import re
from dataclasses import replace

import pytest
from evil_verdicts import EVIL, findings, rule, verdict

from verifier.intake.source_record import SourceRecord
from verifier.reports.github import render_github
from verifier.reports.html_page import render_html
from verifier.reports.markdown import render_markdown
from verifier.reports.sarif import render_sarif
from verifier.schemas.rule_record_json import FindingRecord

COMMIT = "0123456789" * 4
SOURCE = SourceRecord(
    remote="https://github.com/owner/name",
    ref="refs/pull/7/head",
    commit=COMMIT,
    path="records/mine",
)
LINE = f"https://github.com/owner/name/blob/{COMMIT}/records/mine/x.py#L3"


def found(file: str):
    finding = FindingRecord(message="seen", file=file, line=3)
    return verdict("x", rules=(rule(findings=(finding,)),))


def test_page_and_comment_link_to_the_line(dossier):
    page = render_html(replace(dossier(verdict("x")), source=SOURCE))
    assert f'<a href="{LINE}" rel="noreferrer"><bdi><code>x.py</code></bdi>' in page
    assert f"[x.py:3]({LINE}): x" in render_markdown(verdict("x"), source=SOURCE)


@pytest.mark.parametrize(
    "change", [{"remote": "file:///repo"}, {"remote": "javascript:x"}, {"commit": "main"}]
)
def test_what_lies_elsewhere_is_not_linked(dossier, change):
    source = SOURCE.model_copy(update=change)
    assert "](" not in render_markdown(verdict("x"), source=source)
    assert "<a " not in render_html(replace(dossier(verdict("x")), source=source))


def test_a_strange_name_stays_within_its_link(dossier):
    text = render_markdown(verdict(EVIL), source=SOURCE)
    targets = re.findall(r"(?<!\\)\]\((.*?)\)", text)
    assert targets and all(re.fullmatch(r"[\w:/.%#~-]+", target) for target in targets)
    page = render_html(replace(dossier(verdict(EVIL)), source=SOURCE))
    assert all(a.startswith(LINE[:-7]) for a in re.findall(r'href="(.*?)"', page))


def test_many_linked_findings_stay_under_a_megabyte(dossier):
    many = verdict("x", rules=(rule(findings=findings("x", 10_000)),))
    page = render_html(replace(dossier(many), source=SOURCE))
    assert len(page.encode()) < 1_000_000
    assert "more in verdict.json" in page


def test_a_line_of_unpacked_code_is_not_given_as_one_of_the_file(dossier):
    of = found("train_gpt.py (unpacked)")
    command = render_github(of, "records/mine").splitlines()[0]
    assert "file=records/mine/train_gpt.py,title" in command
    assert command.endswith("train_gpt.py (unpacked):3: seen")
    [result] = [
        r
        for r in json.loads(render_sarif([dossier(of)]))["runs"][0]["results"]
        if r["kind"] == "fail"
    ]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "train_gpt.py" and "region" not in place
