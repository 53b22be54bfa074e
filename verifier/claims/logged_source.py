"""The script that many training scripts print at the top of their logs, and where it differs.

A script is a passage between rulers (or before the lines on Python's version) that imports and
defines; what stands above its first line, such as a dump of settings, is left out. Of some logs the
head is lost, and with it the script's: what is left of it is held against the same part of others.
"""

import re
from dataclasses import dataclass
from itertools import takewhile
from os.path import commonprefix

from verifier.intake.submission import SubmissionFile

_END = re.compile(r"={20,}\s*$|Running Py")
_STATEMENT = re.compile(r"import \w|from [\w.]+ import |def \w|class \w")
_FIRST_LINE = re.compile(rf"[rbuRBU]?[\"']|#|@|if |try:|{_STATEMENT.pattern}")
_FEWEST_STATEMENTS = 5
_MOST_STARTS = 16  # places where a script may go on whose head is lost


@dataclass(frozen=True, kw_only=True, slots=True)
class PrintedSource:
    """Python as it stands in a file: its lines of code with their numbers, no comments."""

    file: str
    code: tuple[tuple[int, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceDifference:
    """The first line on which two sources differ; empty where one of them is over."""

    line: int
    text: str
    other_line: int
    other_text: str

    @property
    def quote(self) -> str:
        """Both lines, from where what they share is no mere indentation, around the difference."""
        shared = commonprefix([self.text, self.other_text])
        start = max(len(shared) - len(shared.lstrip()), len(shared) - 40)
        seen = slice(start, start + 80)
        return f"{self.text[seen]!r} against {self.other_text[seen]!r}"


def logged_source(log: SubmissionFile) -> PrintedSource | None:
    """The last script printed in a log; of a log too long to be kept, in its head."""
    lines = (log.text or "").split("\n")
    if log.lines_cut:
        lines = lines[: log.cut_after_line]
    edges = [-1, *(n for n, line in enumerate(lines) if _END.match(line))]
    passages = [(a + 1, b) for a, b in zip(edges, edges[1:], strict=False)]
    for start, end in reversed(passages):
        passage = lines[start:end]
        if sum(_STATEMENT.match(line) is not None for line in passage) < _FEWEST_STATEMENTS:
            continue
        head = next(n for n, line in enumerate(passage) if _FIRST_LINE.match(line))
        return _source(str(log.path), start + head + 1, passage[head:])
    return None


def shipped_source(file: str, text: str) -> PrintedSource:
    """A script of the folder, or what is packed in it, to be held against a logged one."""
    return _source(file, 1, text.removeprefix("\ufeff").split("\n"))


def _source(file: str, first_line: int, lines: list[str]) -> PrintedSource:
    bare = ((n, line.rstrip()) for n, line in enumerate(lines, start=first_line))
    code = tuple((n, line) for n, line in bare if line and not line.lstrip().startswith("#"))
    return PrintedSource(file=file, code=code)


def first_difference(
    one: PrintedSource, other: PrintedSource, *, skipped: int = 0
) -> SourceDifference | None:
    """Where the code begins to differ; None where at most comments and blank lines do.

    `skipped` lines of the other's code come before the first one's: see `lost_head`.
    """
    ends = (_last_line(one), ""), (_last_line(other), "")
    others = other.code[skipped:]
    for n in range(max(len(one.code), len(others))):
        line, text = one.code[n] if n < len(one.code) else ends[0]
        other_line, other_text = others[n] if n < len(others) else ends[1]
        if text != other_text:
            return SourceDifference(
                line=line, text=text, other_line=other_line, other_text=other_text
            )
    return None


def lost_head(part: PrintedSource, whole: PrintedSource) -> int:
    """How many lines of code a whole script has above what is left of it; nought in all else."""
    if not part.code or not whole.code or part.code[0][1] == whole.code[0][1]:
        return 0
    first = part.code[0][1]
    starts = [n for n, (_, text) in enumerate(whole.code) if text == first][:_MOST_STARTS]
    return max(starts, key=lambda start: _num_shared(part, whole, start), default=0)


def _num_shared(part: PrintedSource, whole: PrintedSource, start: int) -> int:
    pairs = zip(part.code, whole.code[start:], strict=False)
    return len(list(takewhile(lambda pair: pair[0][1] == pair[1][1], pairs)))


def _last_line(source: PrintedSource) -> int:
    return source.code[-1][0] if source.code else 1
