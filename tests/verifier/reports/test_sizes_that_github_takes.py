"""What GitHub takes: every form keeps within it, however much there is to tell."""

import re
from collections import Counter

import pytest
from evil_verdicts import EVIL, RIGHT_TO_LEFT, verdict

from verifier.reports.github import render_github
from verifier.reports.markdown import SUMMARY_CHARACTERS, render_markdown

GITHUB_COMMENT_CHARACTERS = 65_536
GITHUB_SUMMARY_BYTES = 1 << 20
GITHUB_ANNOTATIONS = 10

cases = pytest.mark.parametrize("text", ["plain", EVIL, RIGHT_TO_LEFT, "\U000e0001" * 400])
counts = pytest.mark.parametrize("num_findings", [1, 500, 10_000])


@cases
@counts
def test_a_comment_and_a_summary_fit(text, num_findings):
    of = verdict(text, num_findings)
    assert len(render_markdown(of)) < GITHUB_COMMENT_CHARACTERS
    assert len(render_markdown(of, SUMMARY_CHARACTERS).encode()) < GITHUB_SUMMARY_BYTES


@counts
def test_no_level_has_more_annotations_than_are_shown(num_findings):
    lines = render_github(verdict("x", num_findings)).splitlines()
    levels = Counter(line.split()[0] for line in lines)
    assert max(levels.values()) <= GITHUB_ANNOTATIONS
    assert levels["::error"] and levels["::warning"]


def test_the_most_severe_comes_first_and_the_rest_is_counted():
    text = render_markdown(verdict("x", 10_000))
    assert text.index("| BROKEN | failed") < text.index("| BROKEN | seed")
    told = text.count("- x.py:3: x")
    assert f"{20_000 - told} more in the report" in text


def test_a_summary_tells_five_hundred_findings_in_full():
    text = render_markdown(verdict("x", 500), SUMMARY_CHARACTERS)
    assert text.count("- x.py:3: x") == 1_000


def test_a_comment_shows_what_is_broken_and_folds_the_rest():
    seen = re.sub(r"<details>.*?</details>", "", render_markdown(verdict("x")), flags=re.DOTALL)
    assert "| BROKEN | failed" in seen
    assert "overlong" not in seen and "too\\_few" not in seen
    assert "1 rules passed, 1 could not be evaluated" in render_markdown(verdict("x"))
