"""Recipes as files: YAML, each a small difference to the recipe that it extends."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import yaml

from trainer.errors import RecipeError
from trainer.public_names import parse_command, public_names, translated, without_what_is_off
from trainer.recipe import Recipe, options_by_path, section_types
from trainer.recipe_checks import build_recipe

TOP_LEVEL_WORDS = ("extends", "what", "track")
TRACKS = ("10min_16mb", "non_record_16mb", "demo")
MAX_RECIPE_BYTES = 100_000
MAX_ANCESTORS = 20
NEARLY_THE_SAME = 0.85  # difflib's ratio: one letter more, less or other in a name of seven


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipeFile:
    """One recipe file, its ancestors not yet applied."""

    path: Path
    launch: str  # the command in its first line
    extends: str | None
    what: str  # one sentence for people
    track: str | None
    settings: dict[str, object]  # option path → value
    lines: dict[str, int]  # option path → where it stands

    @property
    def name(self) -> str:
        return self.path.stem


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedRecipe:
    """A recipe with all that is said about it."""

    name: str
    what: str
    track: str
    recipe: Recipe
    changes: dict[str, object]  # option path → value, as set by hand over the file


def recipe_names() -> list[str]:
    """The recipes that come with the trainer."""
    return sorted(path.stem for path in _recipe_folder().glob("*.yaml"))


def load_recipe(name_or_path: str, changes: Mapping[str, tuple[str, object]]) -> ResolvedRecipe:
    """A recipe, its ancestors and the changes made by hand, resolved.

    Args:
        name_or_path: a name of `recipe_names`, or the path of a YAML file.
        changes: option key (path or public name) → (where it was said, value).

    Raises:
        RecipeError: with every mistake, one a line, each with file and key.
    """
    lineage = read_lineage(name_or_path)
    settings: dict[str, object] = {}
    origins: dict[str, str] = {}
    for ancestor in reversed(lineage):
        settings |= ancestor.settings
        origins |= {path: f"{ancestor.path}:{line}" for path, line in ancestor.lines.items()}
    by_hand = {path: change for path, change in map(by_path, changes.items())}
    settings |= {path: value for path, (_, value) in by_hand.items()}
    origins |= {path: origin for path, (origin, _) in by_hand.items()}
    recipe = checked_recipe(settings, origins)
    track = next((ancestor.track for ancestor in lineage if ancestor.track), None)
    if track not in TRACKS:
        raise RecipeError(f"{lineage[0].path}: track: expected one of {', '.join(TRACKS)}")
    return ResolvedRecipe(
        name=lineage[0].name,
        what=lineage[0].what,
        track=track,
        recipe=recipe,
        changes={path: value for path, (_, value) in by_hand.items()},
    )


def by_path(change: tuple[str, tuple[str, object]]) -> tuple[str, tuple[str, object]]:
    """A change whose key is an option's path or one of its public names, with its path.

    Raises:
        RecipeError: its value means nothing under that name.
    """
    key, (origin, value) = change
    try:
        return public_names().get(key, key), (origin, translated(key, value))
    except RecipeError as mistake:
        raise RecipeError(f"{origin}: {mistake}") from None


def checked_recipe(settings: Mapping[str, object], origins: Mapping[str, str]) -> Recipe:
    """The recipe that settings make.

    Raises:
        RecipeError: with unknown options, wrong values and contradictions, one a line.
    """
    unknown = unknown_options(origins)
    known = {path: value for path, value in settings.items() if path in options_by_path()}
    try:
        recipe = build_recipe(known, {path: origins[path] for path in known})
    except RecipeError as mistakes:
        raise RecipeError("\n".join([*unknown, str(mistakes)])) from None
    if unknown:
        raise RecipeError("\n".join(unknown))
    return recipe


def command_changes(command: str | None) -> dict[str, tuple[str, object]]:
    """The changes that a public command line makes: name → (origin, value).

    Raises:
        RecipeError: it cannot be read, or asks for what the trainer lacks.
    """
    assignments = parse_command(command).assignments if command else {}
    return {name: (f"--replay {name}", text) for name, text in assignments.items()}


def replayed_processes(command: str | None) -> int | None:
    """How many processes a public command line starts with torchrun, if it does."""
    return parse_command(command).num_processes if command else None


def environment_changes(environment: Mapping[str, str]) -> dict[str, tuple[str, object]]:
    """The changes that an environment makes by public names: name → (origin, value).

    Raises:
        RecipeError: a variable is nearly called like an option, which is most likely a slip, or
            asks for what the trainer lacks.
    """
    environment = without_what_is_off(environment)
    names = public_names()
    slips = [
        f"environment variable {name} is no option; did you mean {near[0]}?"
        for name in environment
        if name not in names
        and (near := difflib.get_close_matches(name, names, n=1, cutoff=NEARLY_THE_SAME))
    ]
    if slips:
        raise RecipeError("\n".join(slips))
    return {
        name: (f"environment variable {name}", text)
        for name, text in environment.items()
        if name in names
    }


def read_lineage(name_or_path: str) -> list[RecipeFile]:
    """A recipe file, its parent, its parent's parent and so on.

    Raises:
        RecipeError: a file is missing or malformed, or extends itself.
    """
    lineage = [read_recipe_file(_find(name_or_path))]
    while parent := lineage[-1].extends:
        if len(lineage) == MAX_ANCESTORS:
            raise RecipeError(f"{lineage[0].path}: extends: more than {MAX_ANCESTORS} ancestors")
        lineage.append(read_recipe_file(_find(parent, beside=lineage[-1].path)))
    return lineage


def read_recipe_file(path: Path) -> RecipeFile:
    """One recipe file.

    Raises:
        RecipeError: it is missing, too long, no YAML mapping, or holds an unknown section.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text) if len(text) <= MAX_RECIPE_BYTES else None
    except FileNotFoundError:
        beside = (str(file) for file in path.parent.glob("*.y*ml"))
        raise RecipeError(f"{path}: no such recipe file{near_names(str(path), beside)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot read the recipe: {error}") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}{_yaml_mistake(error)}") from None
    if not isinstance(content, dict):
        raise RecipeError(f"{path}: a recipe is a YAML mapping of sections")
    words = {key: str(content.pop(key)) for key in TOP_LEVEL_WORDS if key in content}
    lines = _lines(path, text)
    settings = _flatten(path, content, lines)
    return RecipeFile(
        path=path,
        launch=text.partition("\n")[0].removeprefix("#").strip(),
        extends=words.get("extends"),
        what=words.get("what", ""),
        track=words.get("track"),
        settings=settings,
        lines={option: lines.get(option, lines[option.partition(".")[0]]) for option in settings},
    )


def _yaml_mistake(error: yaml.YAMLError) -> str:
    """Where a file is no YAML, and why, to follow its name."""
    mark = getattr(error, "problem_mark", None)
    place = f":{mark.line + 1}" if mark else ""
    return f"{place}: not YAML: {getattr(error, 'problem', None) or ' '.join(str(error).split())}"


def _flatten(
    path: Path, content: Mapping[str, object], lines: Mapping[str, int]
) -> dict[str, object]:
    known = section_types()
    words = [*known, *TOP_LEVEL_WORDS]
    mistakes = [
        f"{path}:{lines[str(section)]}: {section}: "
        + (
            "expected options"
            if section in known
            else f"no such section{near_names(str(section), words)}"
        )
        for section, options in content.items()
        if section not in known or not isinstance(options, dict)
    ]
    if mistakes:
        raise RecipeError("\n".join(mistakes))
    return {
        f"{section}.{name}": value
        for section, options in content.items()
        if isinstance(options, dict)
        for name, value in options.items()
    }


def _lines(path: Path, text: str) -> dict[str, int]:
    """Where every key stands: "section", "section.option".

    Raises:
        RecipeError: one stands twice, of which YAML would keep the second without a word.
    """
    lines: dict[str, int] = {}
    waiting = [("", yaml.compose(text, Loader=yaml.SafeLoader))]
    while waiting:
        prefix, node = waiting.pop()
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            name = f"{prefix}{key.value}"
            line = key.start_mark.line + 1
            if name in lines:
                raise RecipeError(
                    f"{path}:{line}: {name} stands in line {lines[name]} too; keep one"
                )
            lines[name] = line
            if not prefix:
                waiting.append((f"{name}.", value))
    return lines


def unknown_options(origins: Mapping[str, str]) -> list[str]:
    """What is wrong with settings that are no option, each with near names.

    Args:
        origins: what should be an option's path → where it was set.
    """
    known = options_by_path()
    return [
        f"{origin}: no option is called {path}{near_names(path, [*known, *public_names()])}"
        for path, origin in origins.items()
        if path not in known
    ]


def near_names(name: str, known: Iterable[str]) -> str:
    """What to append to a message about an unknown name: "; did you mean …?", or nothing."""
    by_folded = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), by_folded, n=3)
    return f"; did you mean {' or '.join(by_folded[folded] for folded in near)}?" if near else ""


def _find(name_or_path: str, beside: Path | None = None) -> Path:
    if name_or_path.endswith((".yaml", ".yml")):
        return (beside.parent / name_or_path) if beside else Path(name_or_path)
    if name_or_path not in recipe_names():
        files = (str(file) for file in Path().glob("*.y*ml"))
        hint = near_names(name_or_path, [*recipe_names(), *files])
        raise RecipeError(
            f"no recipe is called {name_or_path!r}{hint or '; see `pgolf-train recipes`'}"
        )
    return _recipe_folder() / f"{name_or_path}.yaml"


def _recipe_folder() -> Path:
    return Path(str(resources.files("trainer"))) / "recipes"
