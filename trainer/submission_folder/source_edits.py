"""Changes to source text at places of its syntax tree; comments elsewhere stay as they are."""

import ast
import re
from dataclasses import dataclass

MANY_BLANK_LINES = re.compile(r"\n{4,}")
# A list on a line of its own, without a comma at its end, and what stands around it.
BROKEN_LIST = re.compile(
    r"^(?P<before>[^\n#]*[(\[{])\n +(?P<inner>[^\n#]*[^\n#,(\[{])\n *(?P<after>[)\]}][^\n]*)$",
    re.MULTILINE,
)
LINE_WIDTH = 100
BLANK_LINES_WITHIN = re.compile(r"\n{3,}(?=[ \t])")
BLANK_LINES_AFTER_HEADER = re.compile(r"(?<=:\n)\n+(?=[ \t]+[^\s])")


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """Bytes of a source that are replaced."""

    start: int
    end: int
    text: str = ""


class SourceText:
    """A source with its lines, in bytes: the columns of syntax trees count those."""

    def __init__(self, source: str) -> None:
        self.content = source.encode()
        self.lines = self.content.splitlines(keepends=True)
        self.line_starts = [0]
        for line in self.lines:
            self.line_starts.append(self.line_starts[-1] + len(line))

    def place(self, line: int, column: int) -> int:
        """Where a place of the tree is; lines count from 1."""
        return self.line_starts[line - 1] + column

    def between(self, start: int, end: int) -> str:
        """The text from one byte to before another."""
        return self.content[start:end].decode()

    def of(self, node: ast.expr) -> str:
        """An expression as it is written, without the parentheses around it."""
        return self.between(*self.span(node))

    def span(self, node: ast.expr | ast.stmt | ast.keyword | ast.arg) -> tuple[int, int]:
        """The first byte of a node and the one after its last."""
        end_line, end_column = node.end_lineno or 0, node.end_col_offset or 0
        return self.place(node.lineno, node.col_offset), self.place(end_line, end_column)

    def without_lines(self, first: int, last: int) -> Edit:
        """Whole lines, from the first to the last, left out with the comments above them."""
        while first > 1 and self._is_comment_like(first - 1, first):
            first -= 1
        return Edit(start=self.line_starts[first - 1], end=self.line_starts[last])

    def _is_comment_like(self, line: int, other: int) -> bool:
        text, below = self.lines[line - 1], self.lines[other - 1]
        same_indent = _indent(text) == _indent(below)
        return text.lstrip().startswith(b"#") and same_indent

    def without_element(self, start: int, end: int) -> Edit:
        """One of a list separated by commas left out, with its line and comment if it has one."""
        line_start = self.content.rfind(b"\n", 0, start) + 1
        line_end = self.content.find(b"\n", end) + 1
        before, after = self.content[line_start:start], self.content[end:line_end].strip()
        if not before.strip() and (after == b"," or after.startswith(b",  #")):
            return Edit(start=line_start, end=line_end)
        if after.startswith(b","):
            comma = self.content.find(b",", end) + 1
            return Edit(start=start, end=comma + (self.content[comma : comma + 1] == b" "))
        return Edit(start=len(self.content[:start].rstrip().removesuffix(b",")), end=end)

    def dedented(self, first: int, last: int, num_columns: int) -> str:
        """Lines, moved to the left."""
        lines = self.lines[first - 1 : last]
        return b"".join(line[num_columns:] if line.strip() else line for line in lines).decode()

    def changed(self, edits: list[Edit]) -> str:
        """The source after all edits that lie in no other one."""
        parts, place = [], 0
        for edit in sorted(edits, key=lambda edit: (edit.start, -edit.end)):
            if edit.start >= place:
                parts += [self.content[place : edit.start], edit.text.encode()]
                place = edit.end
        return b"".join([*parts, self.content[place:]]).decode()


def _indent(line: bytes) -> int:
    return len(line) - len(line.lstrip())


def tidied(source: str) -> str:
    """Laid out as before: blank lines, and lists that fit their line again.

    At most two blank lines stand between definitions, one within them, none after a header.
    """
    source = BLANK_LINES_AFTER_HEADER.sub("", source)
    source = MANY_BLANK_LINES.sub("\n\n\n", BLANK_LINES_WITHIN.sub("\n\n", source))
    return BROKEN_LIST.sub(_joined, source)


def _joined(found: re.Match[str]) -> str:
    line = f"{found['before']}{found['inner']}{found['after']}"
    return line if len(line) <= LINE_WIDTH else found[0]
