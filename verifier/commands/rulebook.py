"""rules: the track's rules as a table, or one of them explained."""

from rich import box
from rich.table import Table

from verifier.commands.options import Options, result_console
from verifier.errors import UsageError
from verifier.rulebook import load_rulebook, load_rules
from verifier.schemas.rule_yaml import Rule


def rules(name: str | None, options: Options) -> int:
    """All rules of the track, or the one named.

    Raises:
        UsageError: no rule of that name.
    """
    console = result_console(options)
    if name is None:
        rulebook = load_rulebook(options["track"])
        table = Table(box=box.SIMPLE_HEAD, title=rulebook.track.title, title_justify="left")
        for column in ("rule", "severity", "stage", "title"):
            table.add_column(column)
        for rule in rulebook.rules.values():
            table.add_row(rule.id, rulebook.severity(rule.id).value, rule.stage, rule.title)
        console.print(table)
        return 0
    known = load_rules()
    if name not in known:
        raise UsageError(f"no rule '{name}': there are {', '.join(known)}")
    console.print(explain(known[name]), markup=False)
    return 0


def explain(rule: Rule) -> str:
    """A rule's answers to what, why, example and source."""
    parameters = ", ".join(f"{key} {value:g}" for key, value in rule.parameters.items())
    parts = [
        f"{rule.id}: {rule.title}",
        f"since {rule.since}, condition {rule.condition}, class {rule.violation_class}",
        f"What: {rule.what}",
        f"Why: {rule.why}",
        f"Example: {rule.example}",
        f"Source: {rule.source}",
    ]
    return "\n".join([*parts, *([f"Parameters: {parameters}"] if parameters else [])])
