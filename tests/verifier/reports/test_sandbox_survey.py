"""The doctor's word on a terminal: what did not hold, and no list of what did."""

import io

from rich.console import Console

from verifier.reports.sandbox_survey import Survey, print_surveys
from verifier.sandbox.conformance.checks import CHECKS, Answer


def printed(*surveys):
    console = Console(file=io.StringIO(), width=140)
    print_surveys(list(surveys), console)
    return console.file.getvalue()


def survey(sandbox, *failing):
    return Survey(
        sandbox=sandbox,
        answers=tuple(
            Answer(check=c, outcome="not_held" if c in failing else "held", reason="why")
            for c in CHECKS
        ),
    )


def test_a_check_that_failed_is_named_with_its_reason_and_those_that_held_are_counted():
    text = printed(survey("bubblewrap", CHECKS[3]), survey("landlock"))
    assert CHECKS[3].name in text and f"bubblewrap · {CHECKS[3].name}: why" in text
    assert CHECKS[4].name not in text and f"{len(CHECKS)} of {len(CHECKS)} checks held" in text


def test_that_nothing_holds_where_nothing_confines_needs_no_list():
    assert "NOT HELD" not in printed(survey("bubblewrap"), survey("plain", *CHECKS))
