"""Text from strangers made harmless for a terminal, for Markdown, XML and GitHub commands."""

import unicodedata
from functools import lru_cache

MAX_CHARACTERS = 300
_MARKDOWN = str.maketrans({c: f"\\{c}" for c in r"\`*_{}[]>()#+!|~@&$"} | {"<": "&lt;"})
_ACTING = ("Cc", "Cf", "Cn", "Cs", "Zl", "Zp")
"""Unicode categories that act on who shows them, or (Cn) that no XML may hold."""


def visible(text: str, max_characters: int = MAX_CHARACTERS) -> str:
    """One line in which nothing acts: control, format, bidi and no characters are spelt out."""
    start = text[: max_characters + 1]
    shown = start if start.isprintable() else "".join(map(_spelt, start))
    return shown if len(text) <= max_characters else shown[: max_characters - 1] + "…"


@lru_cache(maxsize=4_096)
def _spelt(character: str) -> str:
    if character == " " or unicodedata.category(character) not in _ACTING:
        return character
    return character.encode("unicode_escape").decode("ascii")


def markdown(text: str, max_characters: int = MAX_CHARACTERS) -> str:
    """Text that Markdown and HTML show as it is: no link, no mention, no tag, no table cell."""
    return visible(text, max_characters).translate(_MARKDOWN)


def github_command(text: str, max_characters: int = MAX_CHARACTERS) -> str:
    """Text inside a workflow command: its own escapes for percent and line ends."""
    return visible(text, max_characters).replace("%", "%25")
