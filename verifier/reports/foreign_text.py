"""Text from strangers made harmless for a terminal, for Markdown, XML and GitHub commands."""

import re
import unicodedata

MAX_CHARACTERS = 300
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+!|~@&$])")


_ACTING = ("Cc", "Cf", "Cn", "Cs", "Zl", "Zp")
"""Unicode categories that act on who shows them, or (Cn) that no XML may hold."""


def visible(text: str, max_characters: int = MAX_CHARACTERS) -> str:
    """One line in which nothing acts: control, format, bidi and no characters are spelt out."""
    shown = "".join(_spelt(character) for character in text[: max_characters + 1])
    return shown if len(text) <= max_characters else shown[: max_characters - 1] + "…"


def _spelt(character: str) -> str:
    if character == " " or unicodedata.category(character) not in _ACTING:
        return character
    return character.encode("unicode_escape").decode("ascii")


def markdown(text: str, max_characters: int = MAX_CHARACTERS) -> str:
    """Text that Markdown and HTML show as it is: no link, no mention, no tag, no table cell."""
    return _MARKDOWN.sub(r"\\\1", visible(text, max_characters)).replace("\\<", "&lt;")


def github_command(text: str, max_characters: int = MAX_CHARACTERS) -> str:
    """Text inside a workflow command: its own escapes for percent and line ends."""
    return visible(text, max_characters).replace("%", "%25")
