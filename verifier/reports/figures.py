"""How numbers are written in every report; `–` where nothing was measured."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from verifier.findings import Outcome, Severity
from verifier.schemas.rule_record_json import FindingRecord, RuleRecord
from verifier.schemas.run_record_json import SeedMeasurement
from verifier.schemas.significance_json import SignificanceRecord
from verifier.schemas.verdict_json import ArtifactSize, VerdictFile
from verifier.verdict import GRAVITY

NOTHING = "–"
WORDS = {Outcome.PASSED: "passed", Outcome.BROKEN: "BROKEN", Outcome.NOT_EVALUATED: "cannot tell"}


def bpb(value: float | None) -> str:
    """Bits per byte, to the fifth decimal: a hundredth of seed noise."""
    return NOTHING if value is None else f"{value:.5f}"


def whole(value: float | None) -> str:
    """A count with thousands marked."""
    return NOTHING if value is None else f"{value:,.0f}"


def seconds(value: float | None) -> str:
    """Seconds to a tenth."""
    return NOTHING if value is None else f"{value:.1f}"


def p_value(value: float | None) -> str:
    """A p-value to four decimals, or its order of magnitude below that."""
    return NOTHING if value is None else f"{value:.4f}" if value >= 1e-4 else f"{value:.1e}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A line of the rules' table: one broken rule, or several with the same answer and reason."""

    rules: tuple[RuleRecord, ...]
    outcome: Outcome
    remark: str

    @property
    def names(self) -> str:
        """The rules' names, with a severity where breaking them does not reject."""
        return ", ".join(
            rule.rule
            if rule.severity is Severity.REJECT or self.outcome is Outcome.PASSED
            else f"{rule.rule} ({rule.severity})"
            for rule in self.rules
        )


def by_gravity(rules: Iterable[RuleRecord]) -> list[RuleRecord]:
    """Broken rules, then what could not be told, then what passed; the most severe first."""
    outcomes, severities = (Outcome.BROKEN, Outcome.NOT_EVALUATED, Outcome.PASSED), list(Severity)
    return sorted(rules, key=lambda r: (outcomes.index(r.outcome), severities.index(r.severity)))


def answers(rules: tuple[RuleRecord, ...]) -> tuple[Answer, ...]:
    """Broken rules one by one, the gravest first; then what could not be told; then what passed."""
    lines = [
        Answer(rules=(rule,), outcome=rule.outcome, remark=rule_remark(rule))
        for rule in by_gravity(rules)
        if rule.outcome is Outcome.BROKEN
    ]
    for outcome in (Outcome.NOT_EVALUATED, Outcome.PASSED):
        by_remark: dict[str, list[RuleRecord]] = {}
        for rule in rules:
            if rule.outcome is outcome:
                by_remark.setdefault(rule_remark(rule), []).append(rule)
        lines += [
            Answer(rules=tuple(alike), outcome=outcome, remark=remark)
            for remark, alike in by_remark.items()
        ]
    return tuple(lines)


def rule_remark(rule: RuleRecord) -> str:
    """What stands beside a rule's answer: its first finding, or why it cannot tell."""
    if not rule.findings:
        return rule.reason or ""
    more = f" (and {len(rule.findings) - 1} more)" if len(rule.findings) > 1 else ""
    first = rule.findings[0]
    return f"{place(first)}{first.message}{more}"


def place(finding: FindingRecord) -> str:
    """File and line before a finding's message, as far as they are known."""
    line = f":{finding.line}" if finding.line else ""
    return f"{finding.file}{line}: " if finding.file else ""


def shipped_place(finding: FindingRecord) -> tuple[str | None, int | None]:
    """File and line as they were handed in; a line of unpacked code is no line of its file."""
    if finding.file is None:
        return None, None
    file, packed, _ = finding.file.partition(" (unpacked")
    return file, None if packed else finding.line


def shipped_message(finding: FindingRecord) -> str:
    """The message beside `shipped_place`, which says what that leaves out."""
    file, _ = shipped_place(finding)
    return finding.message if file == finding.file else place(finding) + finding.message


SCORE_ORIGINS = {
    "streamed": "streamed",
    "token_losses": "token losses",
    "printed": "its print",
    "none": NOTHING,
}
"""Added up by us from the loss of every token, or read off a line that the script printed."""

SEED_COLUMNS = (
    "seed",
    "outcome",
    "BPB",
    "BPB from",
    "artifact bytes",
    "code bytes",
    "train s",
    "eval s",
    "wall s",
    "peak MB",
)


def seed_row(seed: SeedMeasurement) -> tuple[str, ...]:
    """One measured seed, in the order of SEED_COLUMNS."""
    return (
        str(seed.seed),
        seed.outcome,
        bpb(seed.val_bpb),
        SCORE_ORIGINS[seed.score_origin],
        whole(seed.artifact_bytes),
        whole(seed.code_bytes.literal),
        seconds(seed.phases.training),
        seconds(seed.phases.evaluation),
        seconds(seed.wall_seconds),
        whole(seed.peak_memory_bytes / 1e6),
    )


def size_line(sizes: tuple[ArtifactSize, ...]) -> str | None:
    """Artifact plus code, counted in every way, against the cap; None where nothing is known."""
    if not any(size.total_bytes for size in sizes):
        return None
    counted = (f"{size.byte_count.replace('_', ' ')} {_size(size)}" for size in sizes)
    return f"bytes of at most {sizes[0].cap_bytes:,}: {', '.join(counted)}"


def _size(size: ArtifactSize) -> str:
    is_over = size.total_bytes is not None and size.total_bytes > size.cap_bytes
    return f"{whole(size.total_bytes)}{' (over)' if is_over else ''}"


def significance_lines(test: SignificanceRecord) -> tuple[str, ...]:
    """The test in words, a statement a line."""
    interval = f" (95 % interval {bpb(test.ci_low)} to {bpb(test.ci_high)})"
    lines = [
        f"against {test.prior}: gain {bpb(test.gain_bpb)} BPB"
        f"{interval if test.ci_low is not None else ''}, "
        f"margin {test.margin_bpb:.5f} BPB = {test.margin_nats_per_token:g} nats a token",
        f"{test.test}: p = {p_value(test.p_value)}, level {test.alpha:g}",
    ]
    if test.external_p_value is not None:
        lines.append(f"with the ledger's pooled deviation: p = {p_value(test.external_p_value)}")
    if test.passed is False and test.seeds_for_80_power is not None:
        lines.append(f"seeds needed at this spread for 80 % power: {test.seeds_for_80_power}")
    return (*lines, *test.warnings)


def other_profiles(verdict: VerdictFile) -> Iterator[tuple[tuple[str, ...], str]]:
    """The profiles that give one answer for one reason, and that answer."""
    alike: dict[str, list[str]] = {}
    for other in verdict.other_profiles:
        is_same = (other.verdict, other.because) == (verdict.verdict, verdict.because)
        answer = "the same" if is_same else f"{other.verdict} ({other.because})"
        alike.setdefault(answer, []).append(other.profile)
    yield from ((tuple(profiles), answer) for answer, profiles in alike.items())


def headline(verdict: VerdictFile) -> str:
    """The verdict in one line."""
    return f"{verdict.verdict.upper()}: {verdict.because}"


def broken_names(verdict: VerdictFile) -> list[str]:
    """What counts among many submissions: broken rules, the gravest first, without mere notes."""
    told = (a for a in answers(verdict.rules) if a.outcome is Outcome.BROKEN)
    return [a.names for a in told if a.rules[0].severity is not Severity.INFO]


def gravity_and_claim(verdict: VerdictFile) -> tuple[int, float]:
    """The order of many submissions: the gravest first, and among those the best claim."""
    claimed = verdict.claims.val_bpb
    return -GRAVITY.index(verdict.verdict), math.inf if claimed is None else claimed


def verdict_counts(verdicts: Sequence[VerdictFile]) -> str:
    """How many submissions there are of each verdict."""
    words = [verdict.verdict for verdict in verdicts]
    counts = ", ".join(f"{words.count(word)} {word}" for word in reversed(GRAVITY))
    return f"{len(verdicts)} submission{'s' if len(verdicts) != 1 else ''}: {counts}"
