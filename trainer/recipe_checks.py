"""From settings to a recipe: each value parsed and held to its bounds, then against the others."""

import math
from collections.abc import Mapping
from dataclasses import Field
from typing import Any, get_args

from trainer.errors import RecipeError
from trainer.recipe import Recipe, Value, options_by_path, section_types
from trainer.recipe_contradictions import contradictions


def build_recipe(
    settings: Mapping[str, object], origins: Mapping[str, str] | None = None
) -> Recipe:
    """A recipe from settings; an option that is left out keeps its default.

    Args:
        settings: known path → value; a number may be a string, as the environment gives it.
        origins: path → where that setting was made, for messages.

    Raises:
        RecipeError: with all mistakes, one a line, each naming its origin and its path.
    """
    values: dict[str, dict[str, Any]] = {section: {} for section in section_types()}
    mistakes: list[str] = []
    known = options_by_path()
    places = origins or {}
    for path, raw in settings.items():
        section, _, name = path.partition(".")
        try:
            values[section][name] = parse_value(known[path], raw)
        except RecipeError as mistake:
            place = places.get(path, "recipe")
            mistakes.append(f"{place if place.endswith(path) else f'{place}: {path}'}: {mistake}")
    if mistakes:
        raise RecipeError("\n".join(mistakes))
    parts = section_types()
    recipe = Recipe(**{section: parts[section](**options) for section, options in values.items()})
    if found := list(contradictions(recipe)):
        raise RecipeError("\n".join(f"{place_of(what, places)}: {what}" for what in found))
    return recipe


def place_of(contradiction: str, origins: Mapping[str, str]) -> str:
    """Where the options were set that a contradiction names, if anywhere."""
    words = set(contradiction.replace(".", " ").replace(",", " ").split())
    places = [place for path, place in origins.items() if path.split(".")[1] in words]
    return ", ".join(dict.fromkeys(places)) or "recipe"


def parse_value(option: Field[Any], raw: object) -> Value:
    """One option's value, converted to its type and held to its bounds.

    Raises:
        RecipeError: the value is of another type or out of bounds.
    """
    if words := get_args(option.type):
        if raw not in words:
            raise RecipeError(f"expected one of {', '.join(words)}, not {raw!r}")
        return str(raw)
    value = convert(option.type, raw)
    if isinstance(value, str):
        return value
    at_least, above = option.metadata["at_least"], option.metadata["above"]
    if at_least is not None and value < at_least:
        raise RecipeError(f"must be at least {at_least}, not {value}")
    if above is not None and value <= above:
        raise RecipeError(f"must be above {above}, not {value}")
    return value


def convert(kind: object, raw: object) -> Value:
    """A value of one of the types that options have.

    Raises:
        RecipeError: it cannot be read as one.
    """
    text = str(raw).strip().lower()
    try:
        if kind is bool:
            return {"1": True, "true": True, "0": False, "false": False}[text]
        if kind is str and isinstance(raw, str):
            return raw
        if kind is int and not isinstance(raw, bool | float):
            return int(text)
        if kind is float and math.isfinite(float(text)):
            return float(text)
    except (KeyError, ValueError):
        pass
    wanted: dict[object, str] = {
        bool: "0 or 1",
        str: "text",
        int: "a whole number",
        float: "a number",
    }
    raise RecipeError(f"expected {wanted[kind]}, not {raw!r}")
