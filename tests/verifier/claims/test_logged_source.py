"""The script printed in a log is found, and held against another line by line."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.claims.logged_source import (
    SourceDifference,
    first_difference,
    logged_source,
    shipped_source,
)
from verifier.intake.submission import FileKind, SubmissionFile

SCRIPT = "import os\nimport sys\nfrom math import pi\n\ndef f(x):\n    return x\n\nclass A: pass\n"
RULER = "=" * 100
HEADS = {
    "nothing": "",
    "warnings of the launcher": "W0323 20:08 run.py:803] OMP_NUM_THREADS\n",
    "settings": f"{RULER}\nHyperparameters:\n  seed: 42\n",
    "an earlier run": f"import json\n{SCRIPT}\n{RULER}\nstep:1/2 train_loss:1.0\n{RULER}\n",
}


def log(text: str) -> SubmissionFile:
    path = PurePosixPath("train.log")
    return SubmissionFile(path=path, num_bytes=len(text), sha256="", kind=FileKind.LOG, text=text)


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("end", [RULER, "Running Python 3.12"])
def test_the_last_printed_script_is_found(head, end):
    logged = logged_source(log(f"{head}{SCRIPT}\n{end}\nseed:42\n"))
    assert first_difference(logged, shipped_source("train_gpt.py", SCRIPT)) is None
    assert logged.code[0] == (head.count("\n") + 1, "import os")


def test_a_log_without_a_script_has_none():
    assert logged_source(log(f"{RULER}\nimport of data done\n{RULER}\nseed:42\n")) is None


@pytest.mark.parametrize("change", [("\n", "\r\n"), ("import sys", "# why\n\nimport sys")])
def test_layout_and_comments_are_no_difference(change):
    logged = logged_source(log(f"{SCRIPT}{RULER}\n"))
    assert first_difference(logged, shipped_source("a.py", SCRIPT.replace(*change))) is None


@pytest.mark.parametrize(
    ("shipped", "places"),
    [
        (SCRIPT.replace("return x", "return 2 * x"), (6, 6)),
        ("# a title\n" + SCRIPT.replace("from math import pi\n", ""), (3, 5)),
        (SCRIPT + "A()\n", (8, 9)),
        ("# nothing but a comment", (1, 1)),
    ],
)
def test_the_first_differing_line_is_named_on_both_sides(shipped, places):
    difference = first_difference(
        logged_source(log(f"{SCRIPT}{RULER}\n")), shipped_source("a.py", shipped)
    )
    assert (difference.line, difference.other_line) == places


@given(shared=st.text(" ax", max_size=200), one=st.text("bc ", max_size=90), rest=st.text("d "))
def test_a_quote_shows_what_differs_and_stays_short(shared, one, rest):
    difference = SourceDifference(
        line=1, text=f"{shared}e{one}", other_line=1, other_text=shared + rest
    )
    ours, theirs = difference.quote.split(" against ")
    assert ours != theirs
    assert max(len(ours), len(theirs)) <= 82
