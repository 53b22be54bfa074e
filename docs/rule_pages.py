"""Pages of the rules, made from `rules/*.yaml` whenever the site is built, so never stale."""

from collections.abc import Iterator

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from verifier.rulebook import load_rulebook, load_rules, rules_folder
from verifier.schemas.rule_yaml import Rule


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add `rules/index.md` and a page for each rule."""
    for name, text in rule_pages():
        files.append(File.generated(config, f"rules/{name}.md", content=text))
    return files


def rule_pages() -> Iterator[tuple[str, str]]:
    """The stem and the Markdown of each page."""
    rules = load_rules()
    tracks = sorted(path.stem for path in (rules_folder() / "tracks").glob("*.yaml"))
    severities = {track: load_rulebook(track).track.rules for track in tracks}
    head = "# Rules\n\nOne page a rule, made from the file of the same name in `rules/`.\n\n"
    lines = [f"| rule | {' | '.join(tracks)} |", "| --- " * (1 + len(tracks)) + "|"]
    for rule in rules.values():
        cells = [severities[track].get(rule.id, "–") for track in tracks]
        name = f"[{rule.title}]({rule.id}.md)<br>`{rule.id}`"
        lines.append(f"| {name} | {' | '.join(cells)} |")
    yield "index", head + "\n".join(lines) + "\n"
    for rule in rules.values():
        asked = {track: severities[track].get(rule.id) for track in tracks}
        yield rule.id, rule_page(rule, {t: s for t, s in asked.items() if s})


def rule_page(rule: Rule, severities: dict[str, str]) -> str:
    """One rule: what, why, example, mend, source, where it is asked for, its numbers."""
    where = ", ".join(f"{track} ({severity})" for track, severity in severities.items())
    numbers = [f"- {name}: {value:g}" for name, value in rule.parameters.items()]
    parts = [
        f"# {rule.title}",
        f"`{rule.id}` · condition {rule.condition} · class `{rule.violation_class}` · "
        f"{'read off the folder' if rule.stage == 'static' else 'decided by our own runs'} · "
        f"since {rule.since}",
        rule.what,
        f"**Why.** {rule.why}",
        f"**Example.** {rule.example}",
        f"**How to mend it.** {rule.mend}",
        f"**Source.** {rule.source}",
        f"**Asked for on** {where or 'no track'}.",
        *(["**Numbers.**\n\n" + "\n".join(numbers)] if numbers else []),
    ]
    return "\n\n".join(parts) + "\n"
