"""Code of another language, as far as a gate on the present token shows in it.

A kernel that writes one prediction for each position has this form, whatever it predicts:

    for (i = 0; i < n; i++) {
        token = tokens[i];
        bool flag = table[token];
        if (flag) …             a gate: the prediction depends on what stands here
        predictions[i] = …
        if (flag) …             no gate: only what follows learns of the token
    }
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

NATIVE_SUFFIXES = (".c", ".cc", ".cpp", ".cxx", ".cu", ".h", ".hpp")
MAX_CHARACTERS = 400_000
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_LOOP = re.compile(
    r"\bfor\s*\([^;{}]{0,200};[^;{}]{0,200};[^;{}]{0,200}?\b(\w{1,60})\s*\+\+[^;{}]{0,40}\)\s*\{"
)
_PREFIX_LOOP = re.compile(r"\bfor\s*\([^;{}]{0,200};[^;{}]{0,200};\s*\+\+(\w{1,60})\s*\)\s*\{")
_ELEMENT = re.compile(
    r"\b(\w{1,60})\s*=\s*(?:\w{1,60}\()?\s*[\w.>-]{1,60}\[\s*(\w{1,60})\s*\]\)?\s*;"
)
_FLAG = re.compile(r"\b(?:bool|uint8_t|unsigned char)\s+(\w{1,60})\s*=([^;]{1,200});")
_OUTPUT = re.compile(r"\b[\w.>-]{1,60}\[\s*(\w{1,60})\s*\]\s*=(?!=)")


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeGate:
    """Where a flag of the present token is asked before the prediction is written."""

    line: int
    code: str


def native_gates(text: str) -> Iterator[NativeGate]:
    """The gates of a source text; linear in its length but for loops within loops."""
    text = _COMMENT.sub(_blank, text[:MAX_CHARACTERS])
    ends = _closing_braces(text)
    for pattern in (_LOOP, _PREFIX_LOOP):
        for loop in pattern.finditer(text):
            end = ends.get(loop.end() - 1)
            if end is not None:
                gates = _gates_of_loop(text, loop.end(), end, loop[1])
                yield from dict.fromkeys(gates)  # one for all flags asked in one line


def _gates_of_loop(text: str, start: int, end: int, variable: str) -> Iterator[NativeGate]:
    positions = {variable}
    tokens: set[str] = set()
    for name, index in _ELEMENT.findall(text, start, end):
        tokens |= {name} if index in positions else set()
        positions |= {name} if index == variable else set()  # a list of positions
    outputs = [m.start() for m in _OUTPUT.finditer(text, start, end) if m[1] == variable]
    for flag in _FLAG.finditer(text, start, end):
        after = bisect_right(outputs, flag.end())
        is_of_token = any(re.search(rf"\[\s*{token}\s*\]", flag[2]) for token in tokens)
        if not is_of_token or after == len(outputs):
            continue
        asked = re.compile(rf"\b{flag[1]}\b").search(text, flag.end(), outputs[-1])
        if asked is not None:
            line = text.count("\n", 0, asked.start())
            yield NativeGate(line=line + 1, code=text.split("\n")[line].strip()[:160])


def _blank(comment: re.Match[str]) -> str:
    return "\n" * comment[0].count("\n")


def _closing_braces(text: str) -> dict[int, int]:
    """The place of each closing brace, by that of its opening one."""
    open_braces: list[int] = []
    pairs: dict[int, int] = {}
    for brace in re.finditer(r"[{}]", text):
        if brace[0] == "{":
            open_braces.append(brace.start())
        elif open_braces:
            pairs[open_braces.pop()] = brace.start()
    return pairs
