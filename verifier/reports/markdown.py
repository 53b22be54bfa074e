"""The report as a comment that can be pasted into a pull request."""

from collections.abc import Iterable, Sequence

from verifier.findings import Outcome
from verifier.reports import figures
from verifier.reports.foreign_text import markdown
from verifier.schemas.verdict_json import VerdictFile

MAX_FINDINGS = 5
MAX_COMMENT_CHARACTERS = 60_000
"""GitHub cuts comments at 65,536."""


def render_markdown(verdict: VerdictFile) -> str:
    """Headline, rules, seeds, test, guarantees; every foreign word escaped."""
    commit = f" at `{verdict.commit}`" if verdict.commit else ""
    parts = [
        f"### pgolf-verify: {markdown(figures.headline(verdict))}",
        f"{markdown(verdict.submission)}{commit} · track `{verdict.track}` · profile "
        f"`{verdict.profile}` · rung `{verdict.rung}` · sha256 `{verdict.submission_sha256[:12]}`",
        _rules(verdict),
        _broken(verdict),
        _seeds(verdict),
        figures.size_line(verdict.sizes) or "",
        _significance(verdict),
        _guarantees(verdict),
        _profiles(verdict),
    ]
    if verdict.next_command:
        parts.append(f"To decide it: {markdown(verdict.next_command)}")
    return "\n\n".join(part for part in parts if part)[:MAX_COMMENT_CHARACTERS] + "\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _rules(verdict: VerdictFile) -> str:
    rows = [
        (figures.WORDS[answer.outcome], markdown(answer.names, 4_000), markdown(answer.remark))
        for answer in figures.answers(verdict.rules)
    ]
    unread = [f"- not read: {markdown(line)}" for line in verdict.unread]
    return "\n".join([_table(("answer", "rule", "what was seen"), rows), "", *unread])


def _broken(verdict: VerdictFile) -> str:
    """Every finding of every broken rule with its evidence, and the clause that it breaks."""
    blocks = []
    for rule in verdict.rules:
        if rule.outcome is not Outcome.BROKEN:
            continue
        lines = [f"{markdown(rule.title)} (since {rule.since}: {markdown(rule.source)})", ""]
        for finding in rule.findings[:MAX_FINDINGS]:
            place = f"{finding.file}:{finding.line}: " if finding.line else ""
            lines.append(f"- {markdown(place + finding.message)}")
            if finding.evidence:
                lines.append(f"  - {markdown(finding.evidence)}")
        if len(rule.findings) > MAX_FINDINGS:
            lines.append(f"- and {len(rule.findings) - MAX_FINDINGS} more")
        blocks.append("\n".join(lines))
    if not blocks:
        return ""
    text = "\n\n".join(blocks)
    return f"<details><summary>What was seen, rule by rule</summary>\n\n{text}\n\n</details>"


def _seeds(verdict: VerdictFile) -> str:
    if not verdict.measurements:
        return "Nothing was run: claims and logs alone."
    rows = [figures.seed_row(seed) for seed in verdict.measurements]
    return "Measured by us:\n\n" + _table(figures.SEED_COLUMNS, rows)


def _significance(verdict: VerdictFile) -> str:
    if verdict.significance is None:
        return ""
    lines = figures.significance_lines(verdict.significance)
    return "\n".join(f"- {markdown(line)}" for line in lines)


def _guarantees(verdict: VerdictFile) -> str:
    if not verdict.guarantees:
        return ""
    rows = [(g.name, g.grade, markdown(g.detail)) for g in verdict.guarantees]
    return "<details><summary>What the sandbox held</summary>\n\n" + (
        _table(("guarantee", "grade", "how we know"), rows) + "\n\n</details>"
    )


def _profiles(verdict: VerdictFile) -> str:
    return "\n".join(
        f"- under `{p.profile}`: {p.verdict} ({markdown(p.because)})"
        for p in verdict.other_profiles
    )
