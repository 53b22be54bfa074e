"""Charts of what a submission spends, seed by seed: seconds and bytes, beside their limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from verifier.reports.charts.axes import (
    RIGHT,
    WIDTH,
    Scale,
    horizontal_axis,
    legend,
    limit_line,
    scale_around,
)
from verifier.reports.charts.marks import Box, Chart, Label, Mark, Tone
from verifier.reports.dossier import Dossier
from verifier.schemas.run_record_json import SeedClaimed, SeedMeasurement

LEFT, ROW, BAR = 126.0, 22.0, 14.0
MAX_ROWS = 8
"""Seeds of one kind that are drawn; more are counted below."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Bar:
    """One seed's stacked parts; claimed ones are drawn hollow."""

    name: str
    parts: tuple[tuple[float, Tone], ...]
    claimed: bool

    @property
    def total(self) -> float:
        return sum(value for value, _ in self.parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """Bars that are held against one limit."""

    title: str
    bars: tuple[_Bar, ...]
    limit: float | None
    left_out: int


def clock_chart(dossier: Dossier) -> Chart | None:
    """The clock's ledger: training and evaluation against their limits, and the rest."""
    limits, verdict = dossier.rulebook.track.limits, dossier.verdict
    training = [_training(m) for m in verdict.measurements]
    training += [_claimed_training(s) for s in verdict.claims.seeds]
    evaluation = [_evaluation(m) for m in verdict.measurements]
    evaluation += [_claimed_evaluation(s) for s in verdict.claims.seeds]
    train_limit, eval_limit = limits.train_seconds.value, limits.eval_seconds.value
    whose = dossier.of_full_runs
    groups = [
        _group(f"training, limit {train_limit:,.0f} s{whose}", training, train_limit),
        _group(f"evaluation, limit {eval_limit:,.0f} s{whose}", evaluation, eval_limit),
        _group("start, validation, packing, end", [_rest(m) for m in verdict.measurements], None),
    ]
    return _bars_chart(
        _Frame(
            name="clock",
            title="The clock, phase by phase",
            axis="seconds",
            unit="s",
            parts={"dark": "loop, evaluation", "light": "calibration, loading, other"},
        ),
        groups,
    )


def bytes_chart(dossier: Dossier) -> Chart | None:
    """Each seed's code and model against the cap."""
    verdict, cap = dossier.verdict, dossier.rulebook.track.limits.artifact_bytes.value
    bars = [
        _bar(str(m.seed), ((m.artifact_bytes, "light"), (m.code_bytes.literal, "dark")))
        for m in verdict.measurements
    ]
    bars += [_claimed_bytes(s) for s in verdict.claims.seeds]
    groups = [_group(f"model and code, cap {cap:,.0f} bytes", bars, cap)]
    return _bars_chart(
        _Frame(
            name="bytes",
            title="The artifact's bytes, part by part",
            axis="bytes",
            unit="bytes",
            parts={"light": "model", "dark": "code"},
        ),
        groups,
    )


def _bar(
    name: str, parts: Sequence[tuple[float | None, Tone]], claimed: bool = False
) -> _Bar | None:
    """A seed's bar; None where nothing is known of it."""
    known = tuple((float(value), tone) for value, tone in parts if value is not None and value > 0)
    return _Bar(name=name, parts=known, claimed=claimed) if known else None


def _training(seed: SeedMeasurement) -> _Bar | None:
    phases = seed.phases
    return _bar(str(seed.seed), ((phases.training, "dark"), (phases.calibration, "light")))


def _evaluation(seed: SeedMeasurement) -> _Bar | None:
    phases = seed.phases
    return _bar(str(seed.seed), ((phases.evaluation, "dark"), (phases.load, "light")))


def _rest(seed: SeedMeasurement) -> _Bar | None:
    """What counts for neither limit; serialising includes calibration, which is drawn above."""
    phases = seed.phases
    packing = max(0.0, (phases.serialise or 0.0) - (phases.calibration or 0.0))
    return _bar(
        str(seed.seed),
        [(s, "light") for s in (phases.start, phases.validation, packing, phases.finish)],
    )


def _claimed_training(seed: SeedClaimed) -> _Bar | None:
    parts = (seed.train_seconds, seed.calibration_seconds)
    return _claimed_bar(seed, parts)


def _claimed_evaluation(seed: SeedClaimed) -> _Bar | None:
    return _claimed_bar(seed, (seed.eval_seconds,))


def _claimed_bytes(seed: SeedClaimed) -> _Bar | None:
    model = seed.model_bytes
    if model is None or seed.total_bytes is None or model > seed.total_bytes:
        return _claimed_bar(seed, (seed.total_bytes or model,))
    return _claimed_bar(seed, (model, seed.total_bytes - model))


def _claimed_bar(seed: SeedClaimed, values: Sequence[float | None]) -> _Bar | None:
    name = f"claimed {seed.seed if seed.seed is not None else '?'}"
    return _bar(name, [(value, "claimed") for value in values], claimed=True)


def _group(title: str, bars: Sequence[_Bar | None], limit: float | None) -> _Group:
    known = [bar for bar in bars if bar is not None]
    measured = [bar for bar in known if not bar.claimed]
    claimed = [bar for bar in known if bar.claimed]
    shown = measured[:MAX_ROWS] + claimed[:MAX_ROWS]
    return _Group(title=title, bars=tuple(shown), limit=limit, left_out=len(known) - len(shown))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Frame:
    """What stands about the bars."""

    name: str
    title: str
    axis: str
    unit: str
    parts: Mapping[Tone, str]
    """What the tones of measured bars stand for."""


def _bars_chart(frame: _Frame, groups: Sequence[_Group]) -> Chart | None:
    told = [group for group in groups if group.bars]
    if not told:
        return None
    totals = [bar.total for group in told for bar in group.bars]
    limits = [group.limit for group in told if group.limit]
    scale = scale_around([*totals, *limits], LEFT, WIDTH - RIGHT, zero=True)
    rows: list[Mark] = []
    y = 8.0
    for group in told:
        rows += _group_marks(group, scale, y)
        y += 28 + ROW * len(group.bars) + (18 if group.left_out else 0)
    marks = [*horizontal_axis(scale, 20, y, frame.axis), *rows, *_legend(frame, told, y + 60)]
    return Chart(
        name=frame.name,
        title=frame.title,
        description=_words(told, frame.unit),
        height=y + 74,
        marks=tuple(marks),
    )


def _group_marks(group: _Group, scale: Scale, y: float) -> list[Mark]:
    top = y + 22
    bottom = top + ROW * len(group.bars)
    marks: list[Mark] = []
    for row, bar in enumerate(group.bars):
        marks += _bar_marks(bar, scale, top + ROW * row)
    if group.limit:
        marks += limit_line(scale.at(group.limit), top, bottom, "", WIDTH)
    if group.left_out:
        text = f"and {group.left_out} more seeds"
        marks.append(Label(x=LEFT, y=bottom + 13, text=text, tone="muted"))
    return [*marks, Label(x=8, y=y + 15, text=group.title, bold=True)]


def _bar_marks(bar: _Bar, scale: Scale, y: float) -> list[Mark]:
    marks: list[Mark] = [Label(x=LEFT - 8, y=y + BAR - 2, text=bar.name, anchor="end")]
    begin = 0.0
    for value, tone in bar.parts:
        x = scale.at(begin)
        width = scale.at(begin + value) - x
        marks.append(Box(x=x, y=y + 1, width=width, height=BAR, tone=tone, hollow=bar.claimed))
        begin += value
    return marks


def _legend(frame: _Frame, groups: Sequence[_Group], y: float) -> list[Mark]:
    """What the tones that occur stand for."""
    tones = {tone for group in groups for bar in group.bars for _, tone in bar.parts}
    entries = [(_swatch(tone), text) for tone, text in frame.parts.items() if tone in tones]
    entries += [(_swatch("claimed", hollow=True), "claimed")] if "claimed" in tones else []
    return legend(entries, 8, y)


def _swatch(tone: Tone, hollow: bool = False) -> Mark:
    return Box(x=2, y=-6, width=16, height=12, tone=tone, hollow=hollow)


def _words(groups: Sequence[_Group], unit: str) -> str:
    return "; ".join(
        f"{group.title}: "
        + ", ".join(
            f"{bar.total:,.{1 if unit == 's' else 0}f} {unit} ({bar.name})" for bar in group.bars
        )
        for group in groups
    )
