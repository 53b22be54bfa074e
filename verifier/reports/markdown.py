"""The report as a comment that can be pasted into a pull request, and as a job's summary.

Each section has its share of the space and leaves out whole lines, never half of one: the most
severe come first, and what is left out is counted.
"""

from collections.abc import Iterable, Iterator, Sequence

from verifier.findings import Outcome
from verifier.intake.source_record import SourceRecord
from verifier.reports import figures
from verifier.reports.dossier import web_address
from verifier.reports.foreign_text import markdown, markdown_code
from verifier.reports.run_notes import run_notes
from verifier.schemas.rule_record_json import FindingRecord, RuleRecord
from verifier.schemas.verdict_json import VerdictFile

COMMENT_CHARACTERS = 65_000
"""GitHub refuses comments over 65,536."""
SUMMARY_CHARACTERS = 250_000
"""GitHub drops summaries over 1 MiB, and a character takes up to four bytes."""
SHARES = {
    "rules": 0.22,
    "findings": 0.3,
    "seeds": 0.1,
    "notes": 0.04,
    "guarantees": 0.05,
    "unread": 0.03,
}
"""The parts of the space that long sections get; the rest is for the short ones."""


def render_markdown(
    verdict: VerdictFile,
    max_characters: int = COMMENT_CHARACTERS,
    source: SourceRecord | None = None,
) -> str:
    """Headline, rules, findings, seeds, test, guarantees; every foreign word escaped.

    Args:
        verdict: what to tell.
        max_characters: what GitHub takes.
        source: where the submission was fetched from, so that findings link to their lines.
    """
    space = {section: int(share * max_characters) for section, share in SHARES.items()}
    parts = [
        f"### pgolf-verify: {markdown(figures.headline(verdict))}",
        _context(verdict),
        _rules(verdict, space["rules"]),
        _unread(verdict, space["unread"]),
        _broken(verdict, space["findings"], source),
        _seeds(verdict, space["seeds"]),
        _notes(verdict, space["notes"]),
        figures.size_line(verdict.sizes) or "",
        _significance(verdict),
        _guarantees(verdict, space["guarantees"]),
        _profiles(verdict),
    ]
    if verdict.next_command:
        parts.append(f"To decide it: {markdown_code(verdict.next_command, 1_000)}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _context(verdict: VerdictFile) -> str:
    commit = f" at {markdown_code(verdict.commit)}" if verdict.commit else ""
    words = {"track": verdict.track, "profile": verdict.profile, "rung": verdict.rung}
    words["sha256"] = verdict.submission_sha256[:12]
    told = " · ".join(f"{name} {markdown_code(word)}" for name, word in words.items())
    return f"{markdown(verdict.submission)}{commit} · {told}"


def _fitting(lines: Iterable[str], max_characters: int) -> tuple[list[str], int]:
    """The first lines that fit into the space, and how many do not."""
    waiting = list(lines)
    used = 0
    for count, line in enumerate(waiting):
        used += len(line) + 1
        if used > max_characters:
            return waiting[:count], len(waiting) - count
    return waiting, 0


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], max_characters: int) -> str:
    head = [_row(header), _row(["---"] * len(header))]
    lines, left_out = _fitting((_row(cells) for cells in rows), max_characters)
    more = [f"\n{left_out} more lines in the report"] if left_out else []
    return "\n".join([*head, *lines, *more])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rules(verdict: VerdictFile, max_characters: int) -> str:
    """What is broken in sight; all else folded away, because the answer rests on no line of it."""
    answers = figures.answers(verdict.rules)
    broken = [a for a in answers if a.outcome is Outcome.BROKEN]
    others = [a for a in answers if a.outcome is not Outcome.BROKEN]
    shown = [_answers_table(broken, max_characters // 2)] if broken else []
    if others:
        passed = sum(rule.outcome is Outcome.PASSED for rule in verdict.rules)
        open_ = sum(rule.outcome is Outcome.NOT_EVALUATED for rule in verdict.rules)
        title = f"{passed} rules passed, {open_} could not be evaluated"
        shown.append(_folded(title, _answers_table(others, max_characters // 2)))
    return "\n\n".join(shown)


def _answers_table(answers: Iterable[figures.Answer], max_characters: int) -> str:
    rows = [
        (figures.WORDS[answer.outcome], markdown(answer.names, 4_000), markdown(answer.remark))
        for answer in answers
    ]
    return _table(("answer", "rule", "what was seen"), rows, max_characters)


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"


def _unread(verdict: VerdictFile, max_characters: int) -> str:
    lines = (f"- not read: {markdown(line)}" for line in verdict.unread)
    shown, left_out = _fitting(lines, max_characters)
    return "\n".join([*shown, *([f"- {left_out} more not read"] if left_out else [])])


def _notes(verdict: VerdictFile, max_characters: int) -> str:
    shown, _ = _fitting((f"- {markdown(note)}" for note in run_notes(verdict)), max_characters)
    return "\n".join(shown)


def _broken(verdict: VerdictFile, max_characters: int, source: SourceRecord | None) -> str:
    """Every finding of every broken rule with its evidence, and the clause that it breaks."""
    broken = [r for r in figures.by_gravity(verdict.rules) if r.outcome is Outcome.BROKEN]
    if not broken:
        return ""
    entries = [entry for rule in broken for entry in _rule_findings(rule, source)]
    shown, left_out = _fitting(entries, max_characters)
    more = [f"\n{left_out} more in the report"] if left_out else []
    text = "\n".join([*shown, *more])
    return _folded("What was seen, rule by rule", text)


def _rule_findings(rule: RuleRecord, source: SourceRecord | None) -> Iterator[str]:
    """A finding an entry; the clause stands before the first, so that neither comes alone."""
    clause = f"\n{markdown(rule.title)} (since {rule.since}: {markdown(rule.source)})"
    clause += f"\nTo mend it: {markdown(rule.mend)}\n\n" if rule.mend else "\n\n"
    for position, finding in enumerate(rule.findings):
        yield (clause if position == 0 else "") + _finding(finding, source)


def _finding(finding: FindingRecord, source: SourceRecord | None) -> str:
    evidence = f"\n  - {markdown(finding.evidence)}" if finding.evidence else ""
    place, address = figures.place(finding), web_address(source, finding)
    if address:
        linked = f"[{markdown(place.removesuffix(': '))}]({address}): "
        return f"- {linked}{markdown(finding.message)}{evidence}"
    return f"- {markdown(place + finding.message)}{evidence}"


def _seeds(verdict: VerdictFile, max_characters: int) -> str:
    if not verdict.measurements:
        return "Nothing was run: claims and logs alone."
    rows = (figures.seed_row(seed) for seed in verdict.measurements)
    return "Measured by us:\n\n" + _table(figures.SEED_COLUMNS, rows, max_characters)


def _significance(verdict: VerdictFile) -> str:
    if verdict.significance is None:
        return ""
    lines = figures.significance_lines(verdict.significance)
    return "\n".join(f"- {markdown(line)}" for line in lines)


def _guarantees(verdict: VerdictFile, max_characters: int) -> str:
    if not verdict.guarantees:
        return ""
    rows = [(markdown(g.name), g.grade, markdown(g.detail)) for g in verdict.guarantees]
    table = _table(("guarantee", "grade", "how we know"), rows, max_characters)
    return _folded("What the sandbox held", table)


def _profiles(verdict: VerdictFile) -> str:
    return "\n".join(
        f"- under {' and '.join(map(markdown_code, profiles))}: {markdown(answer)}"
        for profiles, answer in figures.other_profiles(verdict)
    )
