"""Text from strangers made harmless for a terminal, for Markdown, XML and GitHub commands."""

import re
import unicodedata
from functools import lru_cache

MAX_CHARACTERS = 300
_SPLIT = "&#8203;"
"""A space of no width. GitHub links mentions and issues after Markdown has dropped its escapes."""
_MARKDOWN = str.maketrans(
    {c: f"\\{c}" for c in r"\`*_{}[]>()+!|~&$"}
    | {"<": "&lt;", "@": f"@{_SPLIT}", "#": f"\\#{_SPLIT}"}
)
_LINKED = re.compile(r"(?:https?|ftp|www|gh)(?=:|\.|-\d)", re.IGNORECASE)
_ACTING = ("Cc", "Cf", "Cn", "Cs", "Zl", "Zp")
"""Unicode categories that act on who shows them, or (Cn) that no XML may hold."""
_CI_COMMAND = re.compile(r"(?<!\S):(?=:)|(?<=##)\[")
"""A job's log acts too: `::word` where a line begins, as a folded cell may, and `##[word]`."""


def visible(text: str, max_characters: int = MAX_CHARACTERS) -> str:
    """One line in which nothing acts: control, format, bidi and no characters are spelt out."""
    start = text[: max_characters + 1]
    shown = start if start.isprintable() else "".join(map(_spelt, start))
    shown = _CI_COMMAND.sub(lambda mark: f"\\x{ord(mark[0]):x}", shown)
    return shown if len(text) <= max_characters else shown[: max_characters - 1] + "…"


@lru_cache(maxsize=4_096)
def _spelt(character: str) -> str:
    if character == " " or unicodedata.category(character) not in _ACTING:
        return character
    return character.encode("unicode_escape").decode("ascii")


def markdown(text: str, max_characters: int = MAX_CHARACTERS) -> str:
    """Text that Markdown and HTML show as it is: no link, no mention, no tag, no table cell."""
    shown = visible(text, max_characters).translate(_MARKDOWN)
    return _LINKED.sub(lambda word: word[0] + _SPLIT, shown)


def markdown_code(text: str, max_characters: int = MAX_CHARACTERS) -> str:
    """A code span, in which nothing acts; its own mark is written as an apostrophe."""
    return f"`{visible(text, max_characters).replace(chr(96), chr(39))}`"


def github_command(text: str, max_characters: int = MAX_CHARACTERS) -> str:
    """Text inside a workflow command: its own escapes for percent and line ends."""
    return visible(text, max_characters).replace("%", "%25")
