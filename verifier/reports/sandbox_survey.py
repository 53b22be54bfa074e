"""What each sandbox holds on this machine, check by check, as table, Markdown and JSON."""

import json
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from verifier.reports.foreign_text import markdown, visible
from verifier.sandbox.base import Enforcement
from verifier.sandbox.conformance.checks import CHECKS, Answer, Check

GRADE_STYLES = {"proved": "green", "configured": "green", "observed": "yellow", "absent": "red"}
WORDS = {"held": "held", "not_held": "NOT HELD", "not_applicable": "n/a"}
WORD_STYLES = {"held": "green", "not_held": "red", "not_applicable": "dim"}
UNCONFINED = "plain"
"""Its failures need no reasons: nothing is tried there to hold anything."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """One sandbox: what it answered, or why it could not start."""

    sandbox: str
    answers: tuple[Answer, ...] = ()
    guarantees: tuple[Enforcement, ...] = ()
    unavailable: str | None = None

    def answer_to(self, check: Check) -> Answer | None:
        """What the sandbox answered to a check; None if it was not asked."""
        return next((answer for answer in self.answers if answer.check == check), None)

    def summary(self) -> str:
        """How many checks held, in a line; or why there is no such sandbox."""
        if self.unavailable is not None:
            return f"{self.sandbox}: none here. {self.unavailable}"
        count = {word: sum(a.outcome == word for a in self.answers) for word in WORDS}
        return (
            f"{self.sandbox}: {count['held']} of {len(self.answers)} checks held, "
            f"{count['not_held']} did not, {count['not_applicable']} not applicable"
        )


def print_surveys(surveys: list[Survey], console: Console) -> None:
    """What did not hold and why, and the guarantees that follow."""
    tried = [survey for survey in surveys if survey.answers]
    not_held = _not_held(tried)
    checks = _table(["topic", "what did not hold"], tried)
    for check in not_held:
        words = [_word(survey.answer_to(check), styled=True) for survey in tried]
        checks.add_row(check.topic, check.name, *words)
    guarantees = _table(["guarantee"], tried)
    for name, grades in _grades(tried).items():
        guarantees.add_row(name, *(f"[{GRADE_STYLES[grade]}]{grade}[/]" for grade in grades))
    if not_held:
        console.print(checks)
    for survey in tried:
        for answer in survey.answers:
            if answer.outcome == "not_held" and survey.sandbox != UNCONFINED:
                said = f"{survey.sandbox} · {answer.check.name}: {visible(answer.reason)}"
                console.print(said, markup=False, soft_wrap=True)
    console.print(guarantees)
    for survey in surveys:
        console.print(survey.summary(), markup=False, soft_wrap=True)
    console.print(
        "the sandbox is the one that you name, else bubblewrap; --format markdown: all checks"
    )


def _not_held(tried: list[Survey]) -> list[Check]:
    """The checks that a sandbox failed; where nothing confines, that says nothing."""
    answers = [a for survey in tried if survey.sandbox != UNCONFINED for a in survey.answers]
    failed = {answer.check.name for answer in answers if answer.outcome == "not_held"}
    return [check for check in CHECKS if check.name in failed]


def survey_markdown(surveys: list[Survey]) -> str:
    """Two tables: guarantees, then every check with its claim."""
    tried = [survey for survey in surveys if survey.answers]
    names = [survey.sandbox for survey in tried]
    lines = [f"- {markdown(survey.summary())}" for survey in surveys]
    lines += ["", *_markdown_head("guarantee", *names)]
    lines += [_markdown_row(name, *grades) for name, grades in _grades(tried).items()]
    lines += ["", *_markdown_head("check", "what holds", *names)]
    for check in CHECKS:
        words = [_word(survey.answer_to(check), styled=False) for survey in tried]
        lines.append(_markdown_row(f"`{check.name}`", markdown(check.claim), *words))
    return "\n".join(lines) + "\n"


def survey_json(surveys: list[Survey]) -> str:
    """One object: sandbox → its checks, its guarantees, or why there are none."""
    content = {
        survey.sandbox: {
            "unavailable": survey.unavailable,
            "guarantees": {g.name: g.grade for g in survey.guarantees},
            "checks": {
                a.check.name: {"outcome": a.outcome, "reason": a.reason} for a in survey.answers
            },
        }
        for survey in surveys
    }
    return json.dumps(content) + "\n"


def _table(columns: list[str], tried: list[Survey]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for column in (*columns, *(survey.sandbox for survey in tried)):
        table.add_column(column, overflow="fold")
    return table


def _grades(tried: list[Survey]) -> dict[str, list[str]]:
    names = dict.fromkeys(g.name for survey in tried for g in survey.guarantees)
    held = [{g.name: g.grade for g in survey.guarantees} for survey in tried]
    return {name: [grades.get(name, "absent") for grades in held] for name in names}


def _word(answer: Answer | None, styled: bool) -> str:
    if answer is None:
        return ""
    word = WORDS[answer.outcome]
    return f"[{WORD_STYLES[answer.outcome]}]{word}[/]" if styled else word


def _markdown_head(*columns: str) -> list[str]:
    return [_markdown_row(*columns), _markdown_row(*("---" for _ in columns))]


def _markdown_row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
