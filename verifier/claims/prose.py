"""What a submission says in words: lines of its README and submission.json, with their places.

A line that denies something holds the same words as one that admits it: patterns are matched
against lines that carry no negation.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from verifier.findings import Finding
from verifier.intake.submission import FileKind, Submission

MAX_LINES = 20_000
MAX_LINE_CHARACTERS = 4_000
MAX_STATEMENTS = 3  # of one kind; more of the same tells a reader nothing new
_NEGATION = re.compile(r"(?i)\b(?:no|not|never|without|none|cannot|\w+n't|avoid\w*|instead of)\b")
_SENTENCE_END = re.compile(r"(?<=[.;!?])\s+")
_QUOTE = re.compile(r"^\s*>")


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """One sentence that says what was asked for."""

    file: str
    line: int
    text: str

    def finding(self, message: str) -> Finding:
        """The breach that the author states."""
        return Finding(message=message, file=self.file, line=self.line, evidence=self.text[:200])


def statements(submission: Submission, pattern: re.Pattern[str]) -> tuple[Statement, ...]:
    """The first sentences that match and deny nothing; quotations of the rules are skipped."""
    found: list[Statement] = []
    for statement in _sentences(submission):
        if pattern.search(statement.text) and not _NEGATION.search(statement.text):
            found.append(statement)
            if len(found) == MAX_STATEMENTS:
                break
    return tuple(found)


def prose_lines(submission: Submission) -> Iterator[Statement]:
    """The lines of README.md and submission.json at the top of the folder, of bounded length."""
    for file in submission.files:
        if file.kind not in (FileKind.README, FileKind.METADATA) or len(file.path.parts) > 1:
            continue
        for number, line in enumerate((file.text or "").split("\n")[:MAX_LINES], start=1):
            text = line[:MAX_LINE_CHARACTERS].strip()
            if text and not _QUOTE.match(text):
                yield Statement(file=str(file.path), line=number, text=text)


def _sentences(submission: Submission) -> Iterator[Statement]:
    for line in prose_lines(submission):
        for sentence in _SENTENCE_END.split(line.text):
            yield Statement(file=line.file, line=line.line, text=sentence)
