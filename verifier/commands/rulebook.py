"""rules: the track's rules as a table, or one of them explained."""

import difflib
import json

from rich import box
from rich.table import Table

from verifier.commands.options import Options, result_console
from verifier.errors import UsageError
from verifier.rulebook import DEFAULT_TRACK, load_rulebook, load_rules
from verifier.schemas.rule_yaml import Rule

PAGE_HEAD = """\
# Rules

What the referee knows, as data: no code here. `tracks/` holds limits and lists each track's rules
with their severity, `profiles/` the readings of the rules that were in force, `records/` the ledger
of accepted records seed by seed, `corpora/` the demo track's text.

One rule is one file here, one check of the same name in `verifier/static_checks/` (read off the
folder) or `verifier/evidence_checks/` (decided by measurements), and one fixture pair in
`tests/verifier/rule_cases/`. `pgolf-verify rules <rule>` prints what, why, example and source.

| rule | title | stage | condition | class |
| --- | --- | --- | --- | --- |"""
TABLE_ROW = "| `{0.id}` | {0.title} | {0.stage} | {0.condition} | `{0.violation_class}` |"


def rules(name: str | None, options: Options) -> int:
    """All rules of the track, or the one named.

    Raises:
        UsageError: no rule of that name.
    """
    if name is None:
        _list_rules(options)
        return 0
    known = load_rules()
    if name not in known:
        near = " or ".join(difflib.get_close_matches(name, known))
        guess = f"did you mean {near}? " if near else ""
        raise UsageError(f"no rule '{name}': {guess}'pgolf-verify rules' lists them")
    if options["format_"] == "json":
        print(json.dumps(known[name].model_dump(mode="json")))
    else:
        result_console(options).print(explain(known[name]), markup=False)
    return 0


def _list_rules(options: Options) -> None:
    """The track's rules; as Markdown those of all tracks, for the page that ships with them."""
    if options["format_"] == "markdown":
        print(rules_page(load_rules()), end="")
        return
    rulebook = load_rulebook(options["track"] or DEFAULT_TRACK)
    if options["format_"] == "json":
        for rule in rulebook.rules.values():
            severity = {"severity": rulebook.severity(rule.id).value}
            print(json.dumps(rule.model_dump(mode="json") | severity))
        return
    table = Table(box=box.SIMPLE_HEAD, title=rulebook.track.title, title_justify="left")
    for column in ("rule", "severity", "stage", "title"):
        table.add_column(column, no_wrap=column == "rule")
    for rule in rulebook.rules.values():
        table.add_row(rule.id, rulebook.severity(rule.id).value, rule.stage, rule.title)
    result_console(options).print(table)


def rules_page(known: dict[str, Rule]) -> str:
    """`rules/README.md`: how a rule is written, and a table of all of them."""
    rows = [TABLE_ROW.format(rule) for rule in known.values()]
    return "\n".join([PAGE_HEAD, *rows, ""])


def explain(rule: Rule) -> str:
    """A rule's answers to what, why, example and source."""
    parameters = ", ".join(f"{key} {value:g}" for key, value in rule.parameters.items())
    parts = [
        f"{rule.id}: {rule.title}",
        f"since {rule.since}, condition {rule.condition}, class {rule.violation_class}",
        f"What: {rule.what}",
        f"Why: {rule.why}",
        f"Example: {rule.example}",
        f"Mend: {rule.mend}",
        f"Source: {rule.source}",
    ]
    return "\n".join([*parts, *([f"Parameters: {parameters}"] if parameters else [])])
