"""rules/ + a track's name → the Rulebook: everything the referee holds a submission to."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from verifier.errors import RulebookError, UsageError
from verifier.findings import Severity
from verifier.schemas.profile_yaml import Profile, load_profiles
from verifier.schemas.rule_yaml import Rule
from verifier.schemas.track_yaml import Track
from verifier.schemas.yaml_file import read_yaml

DEFAULT_TRACK = "10min_16mb"
DEFAULT_PROFILE = "readme-strict"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rulebook:
    """One track with its rules and all profiles."""

    track: Track
    rules: dict[str, Rule]
    """The track's rules by id, in the track's order."""
    profiles: dict[str, Profile]
    sha256: str
    """Over the files of the track, its rules and the profiles: what a verdict was given under."""

    def severity(self, rule_id: str) -> Severity:
        """The track's word on a rule, which overrides the rule's own."""
        return self.track.rules[rule_id]

    def profile(self, name: str) -> Profile:
        """The profile of that name.

        Raises:
            UsageError: there is none.
        """
        if name not in self.profiles:
            raise UsageError(f"no profile '{name}': there are {', '.join(sorted(self.profiles))}")
        return self.profiles[name]


def rules_folder() -> Path:
    """The installed `rules` package's folder, without importing it."""
    import importlib.util

    spec = importlib.util.find_spec("rules")
    if spec is None or spec.origin is None:
        raise RulebookError("the rules package is not installed: run 'make install'")
    return Path(spec.origin).parent


def load_rulebook(track: str = DEFAULT_TRACK, folder: Path | None = None) -> Rulebook:
    """Load a track with everything it names; any flaw in any file is fatal.

    Raises:
        UsageError: no such track.
        RulebookError: a file is missing or malformed; lists every mistake.
    """
    root = folder or rules_folder()
    track_path = root / "tracks" / f"{track}.yaml"
    if not track_path.is_file():
        names = ", ".join(sorted(p.stem for p in (root / "tracks").glob("*.yaml")))
        raise UsageError(f"no track '{track}': there are {names}")
    loaded = read_yaml(track_path, Track)
    rule_paths = [root / f"{rule_id}.yaml" for rule_id in loaded.rules]
    rules = {path.stem: read_yaml(path, Rule) for path in rule_paths}
    ids = {track: loaded.id} | {stem: rule.id for stem, rule in rules.items()}
    for stem, own_id in ids.items():
        if own_id != stem:
            raise RulebookError(f"{stem}.yaml: id is '{own_id}', must be the file's name")
    return Rulebook(
        track=loaded,
        rules=rules,
        profiles=load_profiles(root / "profiles"),
        sha256=_hash([track_path, *rule_paths, *(root / "profiles").glob("*.yaml")]),
    )


def load_rules(folder: Path | None = None) -> dict[str, Rule]:
    """Every rule there is, whatever track names it, by id."""
    root = folder or rules_folder()
    rules = {path.stem: read_yaml(path, Rule) for path in sorted(root.glob("*.yaml"))}
    if not rules:
        raise RulebookError(f"{root}: no rule found")
    return rules


def _hash(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
