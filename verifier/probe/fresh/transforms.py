"""What was done to text before it became tokens, and how it is undone.

Bits are counted by the bytes of the text as it was, so whoever measures documents of changed text
must be able to change it back. A transform is believed for what it does on documents, never for
its name: `why_unproven` tries both ways.
"""

import json
import re
from collections.abc import Sequence
from typing import Protocol

from verifier.errors import PgolfError

TITLE, ALL_CAPITALS, NEXT_CAPITAL, ESCAPE = "\ue001", "\ue002", "\ue003", "\ue004"
OPERATORS = TITLE + ALL_CAPITALS + NEXT_CAPITAL + ESCAPE
_LETTERS = re.compile(f"[A-Za-z]+|[{OPERATORS}]")
_MARKED = re.compile(
    f"{ESCAPE}([{OPERATORS}])|{ALL_CAPITALS}([a-z]+)|[{TITLE}{NEXT_CAPITAL}]([a-z])|[{OPERATORS}]"
)
MIN_KNOWN_SHARE = 0.9
"""Of validation documents that must come out of the transform as they are: a tokenizer's own
normalisation makes capitals of a few foreign letters after it."""


class BrokenTransformError(PgolfError):
    """A transform that the submission brings did not do what it is for."""


class Transform(Protocol):
    """Changes texts and changes them back, as many at a time as there are."""

    @property
    def name(self) -> str: ...
    @property
    def marks(self) -> str:
        """Characters that stand for no byte of the text as it was."""
        ...

    def apply(self, texts: Sequence[str]) -> list[str]: ...
    def restore(self, texts: Sequence[str]) -> list[str]: ...


class Untouched:
    """Text as it is."""

    name, marks = "untouched text", ""

    def apply(self, texts: Sequence[str]) -> list[str]:
        return list(texts)

    def restore(self, texts: Sequence[str]) -> list[str]:
        return list(texts)


class CaseOperators:
    """Runs of the letters A to Z in small letters, with operators before capitals (#1729).

    `The NASA iPhone` is `<title>the <all capitals>nasa i<next capital>phone`; where the text itself
    has an operator, an escape stands before it.
    """

    name, marks = "CaseOps", OPERATORS

    def apply(self, texts: Sequence[str]) -> list[str]:
        return [_LETTERS.sub(lambda found: _lowered(found[0]), text) for text in texts]

    def restore(self, texts: Sequence[str]) -> list[str]:
        """An operator with nothing to work on, as where text was cut, stands for nothing."""
        return [_MARKED.sub(_raised, text) for text in texts]


def why_unproven(transform: Transform, raw: Sequence[str], coded: Sequence[str]) -> str | None:
    """Why the transform is not the one that these texts went through, or loses something.

    Args:
        transform: on trial.
        raw: texts as they were; every one must come back.
        coded: texts as tokens spell them; undone and done again they must be what they are.

    Raises:
        BrokenTransformError: the submission's own failed.
    """
    lost = sum(a != b for a, b in zip(raw, transform.restore(transform.apply(raw)), strict=True))
    if lost:
        return f"{transform.name} does not give back {lost} of {len(raw)} raw documents"
    again = transform.apply(transform.restore(coded))
    known = sum(a == b for a, b in zip(coded, again, strict=True))
    if known < MIN_KNOWN_SHARE * len(coded):
        return f"{transform.name} makes {known} of {len(coded)} validation documents what they are"
    return None


def text_on(line: bytes) -> str:
    """The text of a line of documents.

    Raises:
        ValueError: it is no object with a string "text", or with one that no file of text can have.
    """
    try:
        text = json.loads(line)["text"]
        text.encode()  # JSON can write half a character, which has no bytes
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError from error
    return str(text)


def _lowered(word: str) -> str:
    if word in OPERATORS:
        return ESCAPE + word
    if len(word) > 1 and word.isupper():
        return ALL_CAPITALS + word.lower()
    marked = re.sub("[A-Z]", lambda found: NEXT_CAPITAL + found[0].lower(), word)
    return TITLE + marked[1:] if word[0].isupper() else marked


def _raised(found: re.Match[str]) -> str:
    escaped, word, letter = found.groups()
    return escaped or (word or letter or "").upper()
