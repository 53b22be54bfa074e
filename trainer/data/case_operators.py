"""Capital letters as operators before small ones (CaseOps, #1729): nothing is lost.

`The NASA iPhone` becomes `<title>the <allcaps>nasa i<capnext>phone`: a tokenizer then knows one
form of each word. Only the letters A to Z are touched; a run of them is a word. Operators are four
private-use characters; where the text itself has one, <escape> stands before it.
"""

import re
from collections.abc import Iterable

from trainer.errors import DataError

TITLE = "\ue001"
ALLCAPS = "\ue002"
CAPNEXT = "\ue003"
ESCAPE = "\ue004"
OPERATORS = TITLE + ALLCAPS + CAPNEXT + ESCAPE

WORD_OR_OPERATOR = re.compile(f"[A-Za-z]+|[{OPERATORS}]")
OPERATION = re.compile(
    f"{ESCAPE}([{OPERATORS}])|{ALLCAPS}([a-z]+)|[{TITLE}{CAPNEXT}]([a-z])|[{OPERATORS}]"
)


def with_operators(text: str) -> str:
    """The text without capital letters."""
    return WORD_OR_OPERATOR.sub(lambda match: _folded(match[0]), text)


def _folded(word: str) -> str:
    if word in OPERATORS:
        return ESCAPE + word
    if len(word) > 1 and word.isupper():
        return ALLCAPS + word.lower()
    first = TITLE + word[0].lower() if word[0].isupper() else word[0]
    return first + re.sub("[A-Z]", lambda match: CAPNEXT + match[0].lower(), word[1:])


def without_operators(text: str) -> str:
    """The text that `with_operators` was given.

    Raises:
        DataError: it gave no such text: an operator has nothing to work on.
    """
    return OPERATION.sub(_unfolded, text)


def _unfolded(match: re.Match[str]) -> str:
    escaped, word, letter = match.groups()
    if escaped is None and word is None and letter is None:
        raise DataError(
            f"case operator U+{ord(match[0]):04X} at character {match.start()} has nothing to work "
            "on; the text was not encoded with --case-ops, or is cut"
        )
    return str(escaped or (word or letter).upper())


def original_bytes(surfaces: Iterable[str]) -> list[int]:
    """How many UTF-8 bytes of the original text each part of a text with operators stands for.

    Operators stand for none; a letter's size does not depend on its case.

    Args:
        surfaces: the parts, in order; an escape may be cut off from what it escapes.
    """
    sizes: list[int] = []
    is_escaped = False
    for surface in surfaces:
        size = 0
        for character in surface:
            is_operator = character in OPERATORS and not is_escaped
            is_escaped = is_operator and character == ESCAPE
            size += 0 if is_operator else len(character.encode())
        sizes.append(size)
    return sizes
