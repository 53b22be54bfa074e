"""Log lines that no code of the folder prints: another script made the run.

Scripts print `label:value` and `label key:value`. A label that stands nowhere in the code, nor fits
any text with holes in it, was printed by code that is not here. What other programs print before
and during training is left alone: only the lines from the end of training to the score are asked
about, and only where all code could be read.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from verifier.claims.log_lines import without_stamp
from verifier.claims.seed_by_seed import Claims, LogClaim
from verifier.reading.program import Module, Program, read_module

MAX_LINES = 5_000
_LABEL = re.compile(r"([A-Za-z]\w{3,60})(?::(?!//)\S|:? \w{2,40}[:=]\S)(?=.{0,300}\d)")
# `W0429 17:52:48.773000 879991 torch/distributed/run.py:803] …`: what libraries log, by its form.
_OF_LIBRARY = re.compile(r"[IWEFCD]\d{4} \d\d:\d\d:\d\d\.\d{1,9} ")
_WORD = re.compile(r"[A-Za-z]\w*")
_LETTERS = re.compile(r"[A-Za-z]{3}")
_HOLE = re.compile(r"\{[^{}]{0,80}\}|%[-\d.]{0,6}[a-z]")
_LONGEST_START = 60  # characters of a template that are held against a line,
_LONGEST_LINE = 300  # and of the line
_MOST_TEMPLATES, _MOST_LABELS = 5_000, 500


@dataclass(frozen=True, kw_only=True, slots=True)
class UnprintedLine:
    """One line of a log that came from other code."""

    file: str
    line: int
    label: str
    text: str

    @property
    def reason(self) -> str:
        """Why the claimed run is not one of this code."""
        return f"{self.file}:{self.line} prints '{self.label}', which no shipped code does"


@dataclass(slots=True)
class _Code:
    """The words of all code in the folder, and its texts with holes once they are asked for."""

    program: Program
    words: set[str]
    templates: list[list[str]] | None = None
    printed: set[str] = field(default_factory=set)
    """Labels that fitted a text; too many of them, or of texts, are no honest run's: left open."""

    def may_print(self, label: str, line: str) -> bool:
        if label in self.words or label in self.printed or len(self.printed) > _MOST_LABELS:
            return True
        if self.templates is None:
            every = (pieces for module in self._modules() for pieces in _texts_with_holes(module))
            telling = (pieces for pieces in every if _LETTERS.search("".join(pieces)))
            self.templates = list(islice(telling, _MOST_TEMPLATES))
        fits = len(self.templates) == _MOST_TEMPLATES or any(
            _fits(pieces, line) for pieces in self.templates
        )
        self.printed |= {label} if fits else set()
        return fits

    def _modules(self) -> Iterator[Module]:
        """All Python of the folder; what the script never reaches is parsed only if asked for."""
        yield from self.program.modules
        for file in self.program.unreachable:
            module = read_module(file)
            if module is not None:
                yield module


def _fits(pieces: list[str], line: str) -> bool:
    """Whether a line starts with the pieces in order: each at the first place where it can stand.

    No regular expression, which takes for ever where a stranger writes many holes side by side.
    """
    position = 0
    for n, piece in enumerate(pieces):
        found = line.find(piece, position, _LONGEST_LINE if n else len(piece))
        if found < 0:
            return False
        position = found + len(piece)
    return True


def unprinted_lines(claims: Claims, program: Program) -> tuple[UnprintedLine, ...]:
    """The first such line of each log behind the claim; none where some code was not read."""
    if program.opaque or not program.modules:
        return ()
    texts = [module.text for module in program.modules]
    texts += [file.text or "" for file in (*program.unreachable, *program.named)]
    code = _Code(program=program, words=set(_WORD.findall("\n".join(texts))))
    found = (next(_of_other_code(log, code), None) for log in claims.claiming_logs)
    return tuple(line for line in found if line is not None)


def _of_other_code(claim: LogClaim, code: _Code) -> Iterator[UnprintedLine]:
    start, headline = claim.log.lines.get("train_seconds"), claim.log.headline
    if start is None or headline is None or claim.file.lines_cut:
        return
    end = min(headline.line, start + MAX_LINES)
    lines = (claim.file.text or "").split("\n")[start:end]
    for number, stamped in enumerate(lines, start=start + 1):
        line = without_stamp(stamped)
        label = None if _OF_LIBRARY.match(line) else _LABEL.match(line)
        if label and not code.may_print(label[1], line):
            yield UnprintedLine(
                file=str(claim.file.path), line=number, label=label[1], text=line[:160]
            )


def _texts_with_holes(module: Module) -> Iterator[list[str]]:
    """The literal pieces of f-strings and of texts to be formatted, from their start."""
    for joined in module.of_kind(ast.JoinedStr):
        pieces = [str(v.value) if isinstance(v, ast.Constant) else "\0" for v in joined.values]
        yield "".join(pieces).lstrip()[:_LONGEST_START].split("\0")
    for constant in module.of_kind(ast.Constant):
        text = constant.value
        if isinstance(text, str) and _HOLE.search(text[:300]):
            yield _HOLE.sub("\0", text[:300]).lstrip()[:_LONGEST_START].split("\0")
