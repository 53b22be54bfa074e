"""The report as a person at a terminal reads it."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from verifier.findings import Outcome, Severity
from verifier.reports import figures
from verifier.reports.foreign_text import visible
from verifier.reports.run_notes import run_notes
from verifier.schemas.rule_record_json import RuleRecord
from verifier.schemas.verdict_json import VerdictFile

STYLES = {Outcome.PASSED: "green", Outcome.BROKEN: "bold red", Outcome.NOT_EVALUATED: "yellow"}
FEW_RULES = 12
WORD_COLUMNS = ("outcome", "BPB from")
SPARE_COLUMNS = ("peak MB", "code bytes", "wall s", "BPB from", "eval s")
"""Of the table of seeds, what a narrow terminal goes without; every other form has them."""
VERDICT_STYLES = {"accepted": "bold green", "rejected": "bold red", "inconclusive": "bold yellow"}


def print_verdict(verdict: VerdictFile, console: Console) -> None:
    """Write the whole report to `console`."""
    console.print(Group(*_parts(verdict, console.width)))


def print_overview(verdicts: Sequence[VerdictFile], console: Console) -> None:
    """Many submissions, a line each, the gravest first, and among those the best claim."""
    if verdicts:
        console.print(_overview_table(verdicts))
    console.print(figures.verdict_counts(verdicts))


def _overview_table(verdicts: Sequence[VerdictFile]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("verdict", no_wrap=True)
    table.add_column("submission", overflow="fold", ratio=2)
    table.add_column("track", overflow="fold")
    table.add_column("claimed BPB", justify="right")
    table.add_column("broken", overflow="fold", ratio=3)
    for verdict in sorted(verdicts, key=figures.gravity_and_claim):
        table.add_row(
            Text(verdict.verdict, style=VERDICT_STYLES[verdict.verdict]),
            Text(visible(verdict.submission)),
            Text(visible(verdict.track)),
            figures.bpb(verdict.claims.val_bpb),
            Text(", ".join(figures.broken_names(verdict))),
        )
    return table


def _parts(verdict: VerdictFile, width: int) -> list[RenderableType]:
    parts: list[RenderableType] = [
        _first_line(verdict),
        _rules_table(verdict.rules, width),
    ]
    parts += [Text(f"unread  {visible(line)}", style="yellow") for line in verdict.unread]
    if verdict.measurements:
        parts.append(_seeds_table(verdict, width))
        parts += [Text(visible(note), style="dim") for note in run_notes(verdict)]
    parts.append(_claims_line(verdict))
    if size_line := figures.size_line(verdict.sizes):
        parts.append(Text(size_line))
    if verdict.significance:
        parts += [Text(visible(line)) for line in figures.significance_lines(verdict.significance)]
    if verdict.guarantees:
        parts.append(_guarantees_line(verdict))
    parts += [
        Text(visible(f"under {' and '.join(profiles)}: {answer}"), style="dim")
        for profiles, answer in figures.other_profiles(verdict)
    ]
    parts.append(
        Text(visible(figures.headline(verdict), 2_000), style=VERDICT_STYLES[verdict.verdict])
    )
    if verdict.next_command:
        parts.append(Text(f"to decide it: {visible(verdict.next_command)}"))
    return parts


def _first_line(verdict: VerdictFile) -> Text:
    """What is judged, and the answer, for those who read from the top."""
    word = (verdict.verdict.upper(), VERDICT_STYLES[verdict.verdict])
    return Text.assemble(
        (visible(verdict.submission), "bold"), "  ", word, f"  {_context(verdict)}"
    )


def _context(verdict: VerdictFile) -> str:
    commit = f" · commit {verdict.commit[:12]}" if verdict.commit else ""
    return visible(
        f"{verdict.track} · {verdict.profile} · rung {verdict.rung}"
        f" · sha256 {verdict.submission_sha256[:12]}{commit}"
    )


def _rules_table(rules: tuple[RuleRecord, ...], console_width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("answer", no_wrap=True)
    answers = figures.answers(rules)
    # A rule's name is looked up by copying it, so it is never cut in two.
    named = (a.rules for a in answers if _names(a) == a.names)
    longest = max((len(rule.rule) for alike in named for rule in alike), default=0)
    table.add_column("rule", overflow="fold", width=max(longest, console_width * 3 // 8))
    table.add_column("what was seen", overflow="fold", ratio=1)
    for answer in answers:
        table.add_row(
            Text(figures.WORDS[answer.outcome], style=STYLES[answer.outcome]),
            Text(_names(answer)),
            _remark(answer),
        )
    return table


def _names(answer: figures.Answer) -> str:
    """The rules' names; of many that passed, or that mere notes would come from, the number.

    Every other form names them all.
    """
    count = f"{len(answer.rules)} rules"
    if len(answer.rules) > FEW_RULES and answer.outcome is Outcome.PASSED:
        return count
    are_notes = all(rule.severity is Severity.INFO for rule in answer.rules)
    return f"{count} (info)" if len(answer.rules) > 1 and are_notes else answer.names


def _remark(answer: figures.Answer) -> Text:
    """What was seen; for a broken rule also the figures behind it, and how to mend it."""
    remark = Text(visible(answer.remark))
    if answer.outcome is Outcome.BROKEN:
        [rule] = answer.rules
        if rule.findings[0].evidence:
            remark.append(f"\n{visible(rule.findings[0].evidence)}", style="dim")
        if rule.mend:
            remark.append(f"\nto mend: {visible(rule.mend)}")
    return remark


def _seeds_table(verdict: VerdictFile, width: int) -> Table:
    """Every figure whole: on a narrow terminal the least telling columns make room."""
    named = [
        zip(figures.SEED_COLUMNS, figures.seed_row(m), strict=True) for m in verdict.measurements
    ]
    rows = [dict(row) for row in named]
    widths = _seed_widths(rows, width)
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        title="measured",
        title_justify="left",
    )
    for column, column_width in widths.items():
        side: JustifyMethod = "left" if column in WORD_COLUMNS else "right"
        table.add_column(column, justify=side, width=column_width)
    for row in rows:
        table.add_row(*(Text(row[column]) for column in widths))
    return table


def _seed_widths(rows: Sequence[Mapping[str, str]], width: int) -> dict[str, int]:
    """The columns that fit and how wide each is: titles are folded first, then columns go."""
    whole = {c: max(len(c), *(len(row[c]) for row in rows)) for c in figures.SEED_COLUMNS}
    if _is_within(whole, width):
        return whole
    folded = {c: max(map(len, (*c.split(), *(row[c] for row in rows)))) for c in whole}
    for column in SPARE_COLUMNS:
        if not _is_within(folded, width):
            del folded[column]
    return folded


def _is_within(widths: Mapping[str, int], width: int) -> bool:
    return sum(widths.values()) + 2 * len(widths) <= width  # a space and a border each


def _claims_line(verdict: VerdictFile) -> Text:
    claims = verdict.claims
    seeds = ", ".join(
        f"{seed.seed if seed.seed is not None else '?'}: {figures.bpb(seed.val_bpb)}"
        for seed in claims.seeds
    )
    total = f", {claims.bytes_total:,} bytes" if claims.bytes_total else ""
    return Text(
        visible(f"claimed {figures.bpb(claims.val_bpb)} BPB{total} (logs: {seeds or 'none'})")
    )


def _guarantees_line(verdict: VerdictFile) -> Text:
    return Text(
        "sandbox  " + " · ".join(f"{g.name} {g.grade}" for g in verdict.guarantees), style="dim"
    )
