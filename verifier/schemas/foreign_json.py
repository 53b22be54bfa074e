"""JSON written by strangers: bounded, and odd in more ways than the standard allows."""

import json
import math
import re
from dataclasses import dataclass

MAX_JSON_CHARACTERS = 1_000_000
MAX_JSON_DEPTH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonReading:
    """A parsed text, None where it is broken, and what was odd about it."""

    value: object
    problems: tuple[str, ...]


def read_json(text: str) -> JsonReading:
    """Parse a foreign JSON text; broken, huge or deep text is a problem, never an exception."""
    if len(text) > MAX_JSON_CHARACTERS:
        return _unparsed(f"holds more than {MAX_JSON_CHARACTERS} characters; not parsed")
    if _depth(text) > MAX_JSON_DEPTH:
        return _unparsed(f"is nested deeper than {MAX_JSON_DEPTH} levels; not parsed")
    parser = _TolerantParser()
    try:
        value = parser.decoder.decode(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        return _unparsed(f"is not valid JSON: {error.msg} at {where}")
    return JsonReading(value=value, problems=tuple(parser.problems))


def _unparsed(problem: str) -> JsonReading:
    return JsonReading(value=None, problems=(problem,))


def _depth(text: str) -> int:
    """The deepest nesting, found without recursion: json's own parser would overflow the stack."""
    # The closing quote is optional so that no text makes the search start over: linear time.
    bare = re.sub(r'"(?:[^"\\]|\\.)*+"?', "", text, flags=re.DOTALL)
    depth = deepest = 0
    for bracket in re.findall(r"[\[{\]}]", bare):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


class _TolerantParser:
    """Python's JSON decoder, noting repeated keys and figures that are no finite number."""

    def __init__(self) -> None:
        self.problems: dict[str, None] = {}
        self.decoder = json.JSONDecoder(
            object_pairs_hook=self._object,
            parse_constant=self._not_finite,
            parse_float=self._number,
            parse_int=self._integer,
        )

    def _object(self, items: list[tuple[str, object]]) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in items:
            if key in found:
                self.problems[f"repeats the key {key[:80]!r}; the last counts"] = None
            found[key] = value
        return found

    def _not_finite(self, name: str) -> None:
        self.problems[f"says {name[:20]}, which is no finite number; read as absent"] = None

    def _number(self, digits: str) -> float | None:
        value = float(digits)
        if math.isfinite(value):
            return value
        self._not_finite(digits)
        return None

    def _integer(self, digits: str) -> float | None:
        # Python refuses to parse very long integers; no honest figure has 20 digits.
        return int(digits) if len(digits) < 20 else self._number(digits)
