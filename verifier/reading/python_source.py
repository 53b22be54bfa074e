"""Python source → syntax tree, also where the source is newer than the Python that reads it.

Submissions are written for Python 3.12, whose f-strings may hold their own quotes and backslashes
(PEP 701). Python 3.11 cannot parse those, so they are rewritten with triple quotes first; lines
and the values of expressions stay where they are.
"""

import ast
import re
import warnings
from functools import cache

_STRING = re.compile(r"(?<!\w)([rbfuRBFU]{0,2})(\"\"\"|'''|\"|')")
_TOKEN = re.compile(rf"#[^\n]*|{_STRING.pattern}")
_IN_EXPRESSION = re.compile(r"[\[({})\]:]|" + _STRING.pattern)
_PLAIN_TEXT = re.compile(  # a comment, or a string with its prefix; no text makes it start over
    r"""#[^\n]*|((?<!\w)[A-Za-z]{1,2})?(?:"""
    + "|".join(rf"{q}(?:[^{q[0]}\\]|\\.|{q[0]}(?!{q[1:]}))*+(?:{q})?" for q in ('"""', "'''"))
    + "|"
    + "|".join(rf"{q}(?:[^{q}\\\n]|\\.)*+{q}?" for q in ('"', "'"))
    + ")",
    re.DOTALL,
)
_MAX_CODE_CHARACTERS = 500_000
"""Beside comments and plain strings; a tree takes 650 times as many bytes. The longest public
script has 208,000 in all."""
_MAX_NESTING = 8
_PLAIN_FIELDS = frozenset(  # names, marks, contexts and operators
    "arg asname attr conversion ctx id is_async kind level module name op simple".split()
)
_TRIPLES = ('"""', "'''")


def parse_python(text: str) -> ast.Module:
    """The syntax tree of a stranger's script.

    Raises:
        SyntaxError: it is not Python, longer than is parsed, or nested deeper than the parser goes.
    """
    if len(text) > _MAX_CODE_CHARACTERS and _num_code_characters(text) > _MAX_CODE_CHARACTERS:
        raise SyntaxError(f"more than {_MAX_CODE_CHARACTERS} characters of code")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes are no news to the reader
        try:
            return _parse(text)
        except SyntaxError as error:
            if "{" not in text:
                raise
            try:
                return _parse(with_older_fstrings(text))
            except (SyntaxError, ValueError):
                raise error from None


def all_nodes(tree: ast.AST) -> tuple[ast.AST, ...]:
    """A tree's nodes in the order of ast.walk and in half its time; no contexts, no operators."""
    nodes = [tree]
    for node in nodes:
        for name in _child_fields(node._fields):
            value = getattr(node, name, None)
            if type(value) is list:
                nodes += [item for item in value if isinstance(item, ast.AST)]
            elif isinstance(value, ast.AST):
                nodes.append(value)
    return tuple(nodes)


@cache
def _child_fields(fields: tuple[str, ...]) -> tuple[str, ...]:
    """Of a node's fields, those that may hold nodes which are kept."""
    return tuple(name for name in fields if name not in _PLAIN_FIELDS)


def with_older_fstrings(text: str) -> str:
    """The same script with f-strings that Python 3.11 reads.

    Raises:
        ValueError: a string does not end.
    """
    pieces, position = [], 0
    while found := _TOKEN.search(text, position):
        pieces.append(text[position : found.start()])
        if found[0].startswith("#"):
            piece, position = found[0], found.end()
        else:
            piece, position = _string(text, found, 0)
        pieces.append(piece)
    return "".join([*pieces, text[position:]])


def _num_code_characters(text: str) -> int:
    """The text's length less comments and strings, which may be long; f-strings hold code."""
    plain = (f for f in _PLAIN_TEXT.finditer(text) if "f" not in (f[1] or "").lower())
    return len(text) - sum(len(found[0]) for found in plain)


def _parse(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error) or type(error).__name__) from None


def _string(text: str, found: re.Match[str], nesting: int) -> tuple[str, int]:
    """A whole string literal, rewritten where needed, and where it ends."""
    prefix, quote = found[1], found[2]
    if "f" in prefix.lower():
        if nesting >= _MAX_NESTING:
            raise ValueError("f-strings nested too deeply")
        body, end = _fstring_body(text, found.end(), quote, nesting)
        quote = _outer_quote(quote, body)
        return f"{prefix}{quote}{body}{quote}", end
    end = _plain_end(text, found.end(), quote)
    literal = text[found.start() : end]
    # Inside an expression of an f-string no backslash may stand; its value is of no interest.
    return (literal.replace("\\", "/") if nesting else literal), end


def _outer_quote(quote: str, body: str) -> str:
    """The quote itself, or a triple one where the body holds the quote unescaped."""
    if len(quote) == 3 or re.search(rf"(?<!\\){quote}", body) is None:
        return quote
    fitting = [t for t in _TRIPLES if t not in body and not body.endswith(t[0])]
    if not fitting:
        raise ValueError("an f-string that uses every kind of quote")
    return fitting[0]


def _plain_end(text: str, start: int, quote: str) -> int:
    end = start
    while not text.startswith(quote, end):
        end += 2 if text[end : end + 1] == "\\" else 1
        if end >= len(text):
            raise ValueError("a string that does not end")
    return end + len(quote)


def _fstring_body(text: str, start: int, quote: str, nesting: int) -> tuple[str, int]:
    """Literal parts as they are, expressions rewritten; ends after the closing quote."""
    pieces: list[str] = []
    position = start
    while not text.startswith(quote, position):
        if position >= len(text):
            raise ValueError("a string that does not end")
        pair = text[position : position + 2]
        if pair in ("{{", "}}") or pair[0] == "\\":
            pieces.append(pair)
            position += 2
        elif pair[0] == "{":
            piece, position = _field(text, position + 1, nesting)
            pieces.append("{" + piece + "}")
        else:
            pieces.append(pair[0])
            position += 1
    return "".join(pieces), position + len(quote)


def _field(text: str, start: int, nesting: int) -> tuple[str, int]:
    """A replacement field up to its closing brace: an expression, perhaps a format after it."""
    pieces: list[str] = []
    position, depth, in_format = start, 0, False
    while found := _IN_EXPRESSION.search(text, position):
        pieces.append(text[position : found.start()])
        position, token = found.end(), found[0]
        if token == "}" and depth == 0:
            return "".join(pieces), position
        if found[2] is not None and not in_format:
            token, position = _string(text, found, nesting + 1)
        elif token in ("[", "(", "{"):
            depth += 1
        elif token in ("]", ")", "}"):
            depth -= 1
        elif token == ":" and depth == 0:
            in_format = True
        pieces.append(token)
    raise ValueError("a replacement field that does not end")
